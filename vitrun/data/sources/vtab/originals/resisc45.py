"""NWPU-RESISC45: one pool of aerial images, in a folder per class."""

from pathlib import Path

from vitrun.data.sources.vtab.originals import pool
from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit

ARCHIVE = Archive(
    "resisc45",
    "NWPU-RESISC45/<class>/<class>_<nnn>.jpg of NWPU-RESISC45.rar",
    "https://1drv.ms/u/s!AmgKYzARBl5ca3HNaHIlzp_IXjs",
    archives=("NWPU-RESISC45",),
    account="no account is needed, but a browser",
)


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return all images: tensorflow_datasets has one split, ``train``."""
    return pool.read_pool(ARCHIVE, ARCHIVE.find(root, "airplane").parent, 45)
