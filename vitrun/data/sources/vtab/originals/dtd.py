"""Describable Textures: a folder per class, and ten partitions in text files. Only the first is used."""

from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit

ARCHIVE = Archive(
    "dtd",
    "images/<class>/*.jpg and labels/{train1,val1,test1}.txt of dtd-r1.0.1.tar.gz",
    "https://www.robots.ox.ac.uk/~vgg/data/dtd/",
    archives=("dtd",),
)
SPLIT_LISTS = {"train": "train1", "validation": "val1", "test": "test1"}


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return a split of the first partition, keyed by the lines of its list."""
    path, keys = find_list(root, split), read_keys(root, split)
    images = ARCHIVE.find(root, "images")
    classes = ARCHIVE.class_folders(images, 47)
    with ARCHIVE.explain_errors(path):
        labels = np.array([classes.index(key.split("/")[0]) for key in keys], dtype=np.int64)
    return OriginalSplit(
        keys=keys,
        labels={"label": labels},
        classes={"label": classes},
        location=str(path),
        **ARCHIVE.image_files(images, keys),
    )


def read_keys(root: Path, split: str) -> list[str]:
    """Return the keys of a split."""
    return ARCHIVE.read_lines(find_list(root, split))


def find_list(root: Path, split: str) -> Path:
    """Return the file that lists a split."""
    return ARCHIVE.find(root, f"labels/{SPLIT_LISTS[split]}.txt")
