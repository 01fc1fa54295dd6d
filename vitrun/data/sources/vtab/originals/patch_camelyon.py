"""PatchCamelyon: patches of lymph nodes, in an HDF5 file of images and one of labels per split."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit
from vitrun.errors import ExitCode, UserError

if TYPE_CHECKING:
    import h5py

ARCHIVE = Archive(
    "patch_camelyon",
    "camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5, their .gz unpacked by gunzip",
    "https://zenodo.org/record/2546921",
)
MAX_CHUNK = 2**28  # bytes
SPLIT_NAMES = {"train": "train", "validation": "valid", "test": "test"}


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return a split, keyed ``<part>_<row>``."""
    part = SPLIT_NAMES[split]
    path, images = open_hdf5(root, f"camelyonpatch_level_2_split_{part}_x.h5", "x")
    _, labels = open_hdf5(root, f"camelyonpatch_level_2_split_{part}_y.h5", "y")
    ARCHIVE.check_number(path, labels.size)
    with ARCHIVE.explain_errors(path):
        labels = np.asarray(labels).reshape(-1).astype(np.int64)
    if images.shape != (len(labels), 96, 96, 3):
        raise ARCHIVE.damaged_error(
            path, f"x is {list(images.shape)}, not [{len(labels)}, 96, 96, 3] as the labels are"
        )

    def image(index: int) -> np.ndarray:
        with ARCHIVE.explain_errors(path):
            return images[index]

    return OriginalSplit(
        keys=[f"{part}_{row}" for row in range(len(labels))],
        labels={"label": labels},
        classes={"label": ("no tumour", "tumour")},
        image=image,
        location=str(path),
    )


def open_hdf5(root: Path, file: str, name: str) -> tuple[Path, "h5py.Dataset"]:
    """Return the path of an HDF5 file and its data set ``name``, whose rows are read when indexed."""
    path = ARCHIVE.find(root, file, f"{file}.gz")
    if path.suffix == ".gz":
        raise UserError(
            f"{ARCHIVE.name}: {path} is compressed, but HDF5 is read in place: gunzip {path}", ExitCode.DATA
        )
    try:
        import h5py
    except ImportError:
        raise UserError(
            f"{ARCHIVE.name}: {path} is an HDF5 file, which needs the package h5py: pip install 'vitrun[vtab]'",
            ExitCode.DATA,
        ) from None
    with ARCHIVE.explain_errors(path):
        opened = h5py.File(path)
        if not isinstance(opened.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is a link, or not there")
        return path, check_dataset(opened[name])


def check_dataset(dataset: "h5py.Dataset") -> "h5py.Dataset":
    """Return a data set. Raise ValueError if its values are in other files, or in chunks that take too much memory."""
    if dataset.is_virtual or dataset.external:
        raise ValueError("its values are in other files")
    if math.prod(dataset.chunks or ()) * dataset.dtype.itemsize > MAX_CHUNK:
        raise ValueError(f"it is stored in chunks of {list(dataset.chunks)}")
    return dataset
