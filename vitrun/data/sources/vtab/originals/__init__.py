"""VTAB's sixteen originals, read as their authors publish them: the folder of one and a split of tensorflow_datasets
(``train``, ``validation``, ``test``) to an ``OriginalSplit``, by the name that it has in tensorflow_datasets."""

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
from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit

__all__ = ["KEY_READERS", "SPLIT_READERS", "ARCHIVES", "OriginalSplit"]

READER_MODULES = (
    caltech101, cifar100, dtd, oxford_flowers102, oxford_iiit_pet, sun397, svhn_cropped, patch_camelyon, eurosat,
    resisc45, diabetic_retinopathy, clevr, dmlab, dsprites, kitti, smallnorb,
)  # fmt: skip
ARCHIVES: dict[str, Archive] = {reader.ARCHIVE.name: reader.ARCHIVE for reader in READER_MODULES}
SPLIT_READERS: dict[str, Callable[[Path, str], OriginalSplit]] = {
    reader.ARCHIVE.name: reader.read_split for reader in READER_MODULES
}
# The keys alone, of those of which files without an image list them; as above, and a UserError where these are missing
KEY_READERS: dict[str, Callable[[Path, str], list[str]]] = {
    reader.ARCHIVE.name: reader.read_keys
    for reader in (caltech101, dtd, oxford_flowers102, oxford_iiit_pet, sun397, diabetic_retinopathy, kitti)
}
