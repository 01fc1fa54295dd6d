"""Readers of VTAB's sixteen originals as their authors publish them, by their names in tensorflow_datasets.

A reader takes the folder of an original and a split of tensorflow_datasets (``train``, ``validation``, ``test``).
"""

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
# Readers of the keys alone, for originals with lists of them; they raise a UserError if these are missing
KEY_READERS: dict[str, Callable[[Path, str], list[str]]] = {
    reader.ARCHIVE.name: reader.read_keys
    for reader in (caltech101, dtd, oxford_flowers102, oxford_iiit_pet, sun397, diabetic_retinopathy, kitti)
}
