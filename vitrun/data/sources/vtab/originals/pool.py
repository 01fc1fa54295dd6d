"""Originals that are one pool of images, in a folder a class."""

from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab.originals.original import Original
from vitrun.data.sources.vtab.originals.published import Published


def read(published: Published, folder: Path, number: int) -> Original:
    """All images of a pool of ``number`` classes, keyed ``<class>_<file>``."""
    classes = published.classes(folder, number)
    files = [(label, file.name) for label, name in enumerate(classes) for file in sorted((folder / name).glob("*.jpg"))]
    return Original(
        keys=[f"{classes[label]}_{file}" for label, file in files],
        labels={"label": np.array([label for label, _ in files], dtype=np.int64)},
        classes={"label": classes},
        where=f"{folder}/*/*.jpg",
        **published.images(folder, [f"{classes[label]}/{file}" for label, file in files]),
    )
