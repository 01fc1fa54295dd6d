"""Oxford's 102 flowers: photographs in one folder, their labels and splits in two MATLAB files."""

from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab.originals import vtab_labels
from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit

ARCHIVE = Archive(
    "oxford_flowers102",
    "jpg/image_<nnnnn>.jpg of 102flowers.tgz, imagelabels.mat and setid.mat",
    "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    archives=("102flowers",),
)
SPLIT_ARRAYS = {"train": "trnid", "validation": "valid", "test": "tstid"}


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return a split, keyed by file name. Classes are called by their numbers, since the files do not name them."""
    path, numbers = ARCHIVE.find(root, "setid.mat"), read_image_numbers(root, split)
    (classes,) = ARCHIVE.read_matrices(ARCHIVE.find(root, "imagelabels.mat"), "labels")
    if numbers.min(initial=1) < 1 or numbers.max(initial=1) > classes.size:
        raise ARCHIVE.damaged_error(
            path, f"{SPLIT_ARRAYS[split]} names images beyond the {classes.size} that have a label"
        )
    keys = read_keys(root, split)
    return OriginalSplit(
        keys=keys,
        labels={"label": vtab_labels.zero_based(classes.reshape(-1)[numbers - 1])},
        classes={"label": tuple(f"flower {number}" for number in range(1, 103))},
        location=f"{path}, {SPLIT_ARRAYS[split]}",
        **ARCHIVE.image_files(ARCHIVE.find(root, "jpg"), keys),
    )


def read_keys(root: Path, split: str) -> list[str]:
    """Return the keys of a split."""
    return [f"image_{number:05d}.jpg" for number in read_image_numbers(root, split)]


def read_image_numbers(root: Path, split: str) -> np.ndarray:
    """Return the numbers of a split's images, counted from 1: [N]."""
    return ARCHIVE.read_matrices(ARCHIVE.find(root, "setid.mat"), SPLIT_ARRAYS[split])[0].reshape(-1)
