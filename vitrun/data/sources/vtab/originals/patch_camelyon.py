"""PatchCamelyon: patches of lymph nodes, in an HDF5 file a split for the images and another for the labels."""

from pathlib import Path
from typing import Any

import numpy as np

from vitrun.data.sources.vtab.originals.original import Original
from vitrun.data.sources.vtab.originals.published import Published
from vitrun.errors import Exit, Mistake

PUBLISHED = Published(
    "patch_camelyon",
    "camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5, their .gz unpacked by gunzip",
    "https://zenodo.org/record/2546921",
)
PARTS = {"train": "train", "validation": "valid", "test": "test"}


def read(root: Path, split: str) -> Original:
    """The images of a split, keyed ``<part>_<row>``."""
    part = PARTS[split]
    path, images = member(root, f"camelyonpatch_level_2_split_{part}_x.h5", "x")
    _, labels = member(root, f"camelyonpatch_level_2_split_{part}_y.h5", "y")
    with PUBLISHED.reading(path):
        found = np.asarray(labels).reshape(-1).astype(np.int64)
    if images.shape != (len(found), 96, 96, 3):
        raise PUBLISHED.broken(path, f"x is {list(images.shape)}, not [{len(found)}, 96, 96, 3] as the labels have it")

    def image(index: int) -> np.ndarray:
        with PUBLISHED.reading(path):
            return images[index]

    return Original(
        keys=[f"{part}_{row}" for row in range(len(found))],
        labels={"label": found},
        classes={"label": ("no tumour", "tumour")},
        image=image,
        where=str(path),
    )


def member(root: Path, file: str, name: str) -> tuple[Path, Any]:
    """The path of an HDF5 file and its data set ``name``, of which rows are read as they are asked for."""
    path = PUBLISHED.find(root, file, f"{file}.gz")
    if path.suffix == ".gz":
        raise Mistake(f"{PUBLISHED.name}: {path} is packed, and HDF5 is read from place: gunzip {path}", Exit.DATA)
    try:
        import h5py
    except ImportError:
        raise Mistake(
            f"{PUBLISHED.name}: {path} is an HDF5 file, which needs the package h5py: pip install 'vitrun[vtab]'",
            Exit.DATA,
        ) from None
    with PUBLISHED.reading(path):
        return path, h5py.File(path)[name]
