"""Oxford's 102 flowers: photographs in one folder, their labels and splits in two MATLAB files."""

from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab.originals import labels
from vitrun.data.sources.vtab.originals.original import Original
from vitrun.data.sources.vtab.originals.published import Published

PUBLISHED = Published(
    "oxford_flowers102",
    "jpg/image_<nnnnn>.jpg of 102flowers.tgz, imagelabels.mat and setid.mat",
    "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    archives=("102flowers",),
)
SETS = {"train": "trnid", "validation": "valid", "test": "tstid"}


def read(root: Path, split: str) -> Original:
    """The images of a split, keyed by file name; the files name no classes, so they are called by their numbers."""
    path, numbers = PUBLISHED.find(root, "setid.mat"), numbers_of(root, split)
    (classes,) = PUBLISHED.matrices(PUBLISHED.find(root, "imagelabels.mat"), "labels")
    if numbers.min(initial=1) < 1 or numbers.max(initial=1) > classes.size:
        raise PUBLISHED.broken(path, f"{SETS[split]} names images beyond the {classes.size} that have a label")
    keys = keys_of(root, split)
    return Original(
        keys=keys,
        labels={"label": labels.from_one(classes.reshape(-1)[numbers - 1])},
        classes={"label": tuple(f"flower {number}" for number in range(1, 103))},
        where=f"{path}, {SETS[split]}",
        **PUBLISHED.images(PUBLISHED.find(root, "jpg"), keys),
    )


def keys_of(root: Path, split: str) -> list[str]:
    """The keys of a split."""
    return [f"image_{number:05d}.jpg" for number in numbers_of(root, split)]


def numbers_of(root: Path, split: str) -> np.ndarray:
    """The numbers of a split's images, from 1: [N]."""
    return PUBLISHED.matrices(PUBLISHED.find(root, "setid.mat"), SETS[split])[0].reshape(-1)
