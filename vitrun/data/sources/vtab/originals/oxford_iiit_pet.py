"""Oxford-IIIT Pet: photographs in one folder, and a text file per split with a line per image."""

from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab.originals import vtab_labels
from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit

ARCHIVE = Archive(
    "oxford_iiit_pet",
    "images/<Breed>_<n>.jpg of images.tar.gz and annotations/{trainval,test}.txt of annotations.tar.gz",
    "https://www.robots.ox.ac.uk/~vgg/data/pets/",
    archives=("oxford-iiit-pet",),
)
SPLIT_LISTS = {"train": "trainval", "test": "test"}


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return ``train`` (which the authors call trainval) or ``test``, keyed by file name."""
    path, keys = find_list(root, split), read_keys(root, split)
    return OriginalSplit(
        keys=keys,
        labels={"label": vtab_labels.zero_based(np.array([breed for _, breed in read_list(path)]))},
        classes={"label": read_breeds(ARCHIVE.find(root, "annotations/trainval.txt"))},
        location=str(path),
        **ARCHIVE.image_files(ARCHIVE.find(root, "images"), keys),
    )


def read_keys(root: Path, split: str) -> list[str]:
    """Return the keys of a split."""
    return [f"{name}.jpg" for name, _ in read_list(find_list(root, split))]


def find_list(root: Path, split: str) -> Path:
    """Return the file that lists a split."""
    return ARCHIVE.find(root, f"annotations/{SPLIT_LISTS[split]}.txt")


def read_list(path: Path) -> list[tuple[str, int]]:
    """Return name and breed (from 1) of each line ``name breed species number``; lines with # are comments."""
    lines = [line.split() for line in ARCHIVE.read_lines(path) if not line.startswith("#")]
    with ARCHIVE.explain_errors(path):
        return [(name, int(breed)) for name, breed, _, _ in lines]


def read_breeds(path: Path) -> tuple[str, ...]:
    """Return the names of the 37 breeds: their images' names without the number."""
    names = {number: name.rpartition("_")[0] for name, number in read_list(path)}
    if sorted(names) != list(range(1, 38)):
        raise ARCHIVE.damaged_error(path, f"it has images of {len(names)} breeds, not of 37")
    return tuple(names[number] for number in sorted(names))
