"""PatchCamelyon: patches of lymph nodes, in an HDF5 file a split for the images and another for the labels."""

from pathlib import Path
from typing import Any

import numpy as np

from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit
from vitrun.errors import ExitCode, UserError

ARCHIVE = Archive(
    "patch_camelyon",
    "camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5, their .gz unpacked by gunzip",
    "https://zenodo.org/record/2546921",
)
SPLIT_NAMES = {"train": "train", "validation": "valid", "test": "test"}


def read_split(root: Path, split: str) -> OriginalSplit:
    """The images of a split, keyed ``<part>_<row>``."""
    part = SPLIT_NAMES[split]
    path, images = open_hdf5(root, f"camelyonpatch_level_2_split_{part}_x.h5", "x")
    _, labels = open_hdf5(root, f"camelyonpatch_level_2_split_{part}_y.h5", "y")
    with ARCHIVE.explain_errors(path):
        found = np.asarray(labels).reshape(-1).astype(np.int64)
    if images.shape != (len(found), 96, 96, 3):
        raise ARCHIVE.damaged_error(
            path, f"x is {list(images.shape)}, not [{len(found)}, 96, 96, 3] as the labels have it"
        )

    def image(index: int) -> np.ndarray:
        with ARCHIVE.explain_errors(path):
            return images[index]

    return OriginalSplit(
        keys=[f"{part}_{row}" for row in range(len(found))],
        labels={"label": found},
        classes={"label": ("no tumour", "tumour")},
        image=image,
        location=str(path),
    )


def open_hdf5(root: Path, file: str, name: str) -> tuple[Path, Any]:
    """The path of an HDF5 file and its data set ``name``, of which rows are read as they are asked for."""
    path = ARCHIVE.find(root, file, f"{file}.gz")
    if path.suffix == ".gz":
        raise UserError(f"{ARCHIVE.name}: {path} is packed, and HDF5 is read from place: gunzip {path}", ExitCode.DATA)
    try:
        import h5py
    except ImportError:
        raise UserError(
            f"{ARCHIVE.name}: {path} is an HDF5 file, which needs the package h5py: pip install 'vitrun[vtab]'",
            ExitCode.DATA,
        ) from None
    with ARCHIVE.explain_errors(path):
        return path, h5py.File(path)[name]
