"""NWPU-RESISC45: one pool of aerial images, in a folder a class."""

from pathlib import Path

from vitrun.data.sources.vtab.originals import pool
from vitrun.data.sources.vtab.originals.original import Original
from vitrun.data.sources.vtab.originals.published import Published

PUBLISHED = Published(
    "resisc45",
    "NWPU-RESISC45/<class>/<class>_<nnn>.jpg of NWPU-RESISC45.rar",
    "https://1drv.ms/u/s!AmgKYzARBl5ca3HNaHIlzp_IXjs",
    archives=("NWPU-RESISC45",),
    account="no account is needed, but a browser",
)


def read(root: Path, split: str) -> Original:
    """All images: tensorflow_datasets has one split, ``train``."""
    return pool.read(PUBLISHED, PUBLISHED.find(root, "airplane").parent, 45)
