"""Originals that are one pool of images, in a folder per class."""

from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit


def read_pool(archive: Archive, folder: Path, number: int) -> OriginalSplit:
    """Return all images of a pool of ``number`` classes, keyed ``<class>_<file>``."""
    classes = archive.class_folders(folder, number)
    files = [(label, file.name) for label, name in enumerate(classes) for file in sorted((folder / name).glob("*.jpg"))]
    return OriginalSplit(
        keys=[f"{classes[label]}_{file}" for label, file in files],
        labels={"label": np.array([label for label, _ in files], dtype=np.int64)},
        classes={"label": classes},
        location=f"{folder}/*/*.jpg",
        **archive.image_files(folder, [f"{classes[label]}/{file}" for label, file in files]),
    )
