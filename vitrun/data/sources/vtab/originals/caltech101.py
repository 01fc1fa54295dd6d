"""Caltech-101: photographs in a folder per class. tensorflow_datasets draws thirty per class for training.

It draws from the files in the order in which the file system lists them, so its partition cannot be drawn again; only
a list can give it.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit, Status

ARCHIVE = Archive(
    "caltech101",
    "101_ObjectCategories/<Class>/image_<nnnn>.jpg of 101_ObjectCategories.tar.gz in caltech-101.zip",
    "https://data.caltech.edu/records/mzrjq-6wc02",
    archives=("caltech-101",),
    details=", and where the published partition is known, caltech101_train.txt and caltech101_test.txt beside it, "
    "with a line <Class>/image_<nnnn>.jpg an image",
)
SHOTS = 30
SEED = 1234


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return ``train`` or ``test``, keyed ``<Class>/<file>``: as a list gives it, else as drawn here."""
    folder = ARCHIVE.find(root, "101_ObjectCategories")
    folders = ARCHIVE.class_folders(folder, 102)
    classes = sorted(folders, key=str.lower)
    if any(file for place in ARCHIVE.search_folders(root) for file in place.glob("caltech101_*.txt")):
        path, keys = ARCHIVE.find(root, f"caltech101_{split}.txt"), read_keys(root, split)
        location, status = f"{folder}, partition of {path}, {len(keys)} {split} images", Status.AS_PUBLISHED
    else:
        path, keys = folder, [key for key, train in draw_partition(folder, folders) if train == (split == "train")]
        location = f"{folder}; partition drawn here over sorted names; not known to be the published one"
        status = Status.UNKNOWN_PARTITION
    with ARCHIVE.explain_errors(path):
        labels = np.array([classes.index(key.split("/")[0]) for key in keys], dtype=np.int64)
    return OriginalSplit(
        keys=keys,
        labels={"label": labels},
        classes={"label": tuple(name.lower() for name in classes)},
        location=location,
        status=status,
        **ARCHIVE.image_files(folder, keys),
    )


def read_keys(root: Path, split: str) -> list[str]:
    """Return the keys of a split from the list beside the images."""
    return ARCHIVE.read_lines(ARCHIVE.find(root, f"caltech101_{split}.txt"))


def draw_partition(folder: Path, classes: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    """Yield each image and whether it is drawn for training, by the generator of tensorflow_datasets 3.0.1.

    As there, files that are not images can be drawn too, and are then left out.
    """
    random = np.random.RandomState(SEED)
    for name in classes:
        files = sorted(file.name for file in (folder / name).iterdir())
        if len(files) < SHOTS:
            raise ARCHIVE.damaged_error(folder / name, f"it has {len(files)} images, fewer than the {SHOTS} to draw")
        drawn = set(random.choice(len(files), SHOTS, replace=False))
        yield from ((f"{name}/{file}", n in drawn) for n, file in enumerate(files) if file.endswith(".jpg"))
