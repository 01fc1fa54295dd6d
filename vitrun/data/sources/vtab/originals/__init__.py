"""VTAB's sixteen originals, read as their authors publish them: the folder of one and a split of tensorflow_datasets
(``train``, ``validation``, ``test``) to an ``Original``, by the name that it has in tensorflow_datasets."""

from collections.abc import Callable
from pathlib import Path

from vitrun.data.sources.vtab.originals import (
    caltech101,
    cifar100,
    clevr,
    diabetic_retinopathy,
    dmlab,
    dsprites,
    dtd,
    eurosat,
    kitti,
    oxford_flowers102,
    oxford_iiit_pet,
    patch_camelyon,
    resisc45,
    smallnorb,
    sun397,
    svhn_cropped,
)
from vitrun.data.sources.vtab.originals.original import Original
from vitrun.data.sources.vtab.originals.published import Published

__all__ = ["LISTS", "ORIGINALS", "PUBLISHED", "Original"]

READERS = (
    caltech101, cifar100, dtd, oxford_flowers102, oxford_iiit_pet, sun397, svhn_cropped, patch_camelyon, eurosat,
    resisc45, diabetic_retinopathy, clevr, dmlab, dsprites, kitti, smallnorb,
)  # fmt: skip
PUBLISHED: dict[str, Published] = {reader.PUBLISHED.name: reader.PUBLISHED for reader in READERS}
ORIGINALS: dict[str, Callable[[Path, str], Original]] = {reader.PUBLISHED.name: reader.read for reader in READERS}
# The keys alone, of those of which files without an image list them; as above, and a Mistake where these are missing
LISTS: dict[str, Callable[[Path, str], list[str]]] = {
    reader.PUBLISHED.name: reader.keys_of
    for reader in (caltech101, dtd, oxford_flowers102, oxford_iiit_pet, sun397, diabetic_retinopathy, kitti)
}
