"""EuroSAT in colour: one pool of satellite images, in a folder per class."""

from pathlib import Path

from vitrun.data.sources.vtab.originals import pool
from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit

ARCHIVE = Archive(
    "eurosat",
    "2750/<Class>/<Class>_<n>.jpg of EuroSAT.zip, the version in colour",
    "https://github.com/phelber/EuroSAT",
    archives=("2750", "EuroSAT_RGB", "EuroSAT/2750"),
)


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return all images: tensorflow_datasets has one split, ``train``."""
    return pool.read_pool(ARCHIVE, ARCHIVE.find(root, "AnnualCrop").parent, 10)
