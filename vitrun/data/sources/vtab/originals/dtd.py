"""Describable Textures: a folder a class, and ten partitions in text files, of which the first counts."""

from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab.originals.original import Original
from vitrun.data.sources.vtab.originals.published import Published

PUBLISHED = Published(
    "dtd",
    "images/<class>/*.jpg and labels/{train1,val1,test1}.txt of dtd-r1.0.1.tar.gz",
    "https://www.robots.ox.ac.uk/~vgg/data/dtd/",
    archives=("dtd",),
)
LISTS = {"train": "train1", "validation": "val1", "test": "test1"}


def read(root: Path, split: str) -> Original:
    """The images of a split of the first partition, keyed by their lines in its list."""
    path, keys = list_of(root, split), keys_of(root, split)
    images = PUBLISHED.find(root, "images")
    classes = PUBLISHED.classes(images, 47)
    with PUBLISHED.reading(path):
        found = np.array([classes.index(key.split("/")[0]) for key in keys], dtype=np.int64)
    return Original(
        keys=keys,
        labels={"label": found},
        classes={"label": classes},
        where=str(path),
        **PUBLISHED.images(images, keys),
    )


def keys_of(root: Path, split: str) -> list[str]:
    """The keys of a split."""
    return PUBLISHED.lines(list_of(root, split))


def list_of(root: Path, split: str) -> Path:
    """The file that lists a split."""
    return PUBLISHED.find(root, f"labels/{LISTS[split]}.txt")
