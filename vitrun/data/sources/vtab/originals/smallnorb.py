"""Small NORB: toys under six lights from 162 angles, in NORB's own binary matrices, gzipped or not.

A matrix is a magic number, the number of dimensions, the dimensions (at least three), and the values, all
little-endian (https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/).
"""

import gzip
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from vitrun.data.sources.vtab.originals import vtab_labels
from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit

ARCHIVE = Archive(
    "smallnorb",
    "smallnorb-5x46789x9x18x6x2x96x96-training-{dat,info}.mat and smallnorb-5x01235x9x18x6x2x96x96-testing-{dat,info}"
    ".mat, or .mat.gz",
    "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/",
)
STEMS = {"train": "smallnorb-5x46789x9x18x6x2x96x96-training", "test": "smallnorb-5x01235x9x18x6x2x96x96-testing"}
IMAGES = 24_300  # of each part
CHUNK_ROWS = 256  # rows that are unpacked at a time
MAX_DIMENSIONS = 8
TYPES: dict[int, np.dtype] = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return the first camera's images of ``train`` or ``test``, keyed by row number, with azimuth and elevation."""
    path = ARCHIVE.find(root, f"{STEMS[split]}-dat.mat", f"{STEMS[split]}-dat.mat.gz")
    images = read_matrix(path, (2, 96, 96))
    info = read_matrix(ARCHIVE.find(root, f"{STEMS[split]}-info.mat", f"{STEMS[split]}-info.mat.gz"), (4,))
    if len(images) != len(info):
        raise ARCHIVE.damaged_error(path, f"it has {len(images)} images, but the info file beside it {len(info)} rows")
    return OriginalSplit(
        keys=[str(row) for row in range(len(images))],
        labels={
            "label_azimuth": vtab_labels.smallnorb_azimuth(info),
            "label_elevation": vtab_labels.smallnorb_elevation(info),
        },
        classes={"label_azimuth": vtab_labels.AZIMUTHS, "label_elevation": vtab_labels.ELEVATIONS},
        image=lambda index: images[index, 0],
        location=str(path),
    )


def open_binary(path: Path) -> BinaryIO:
    """Open a file to read it, through gzip if it is compressed."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else open(path, "rb")


def read_matrix(path: Path, row: tuple[int, ...]) -> np.ndarray:
    """Return the matrix [N, *row] in a file: memory-mapped, or in memory if the file is gzipped."""
    with ARCHIVE.explain_errors(path), open_binary(path) as file:
        kind, shape = read_header(path, file)
        if shape[1:] != row:
            raise ARCHIVE.damaged_error(path, f"it holds {list(shape)}, not [N, {', '.join(map(str, row))}]")
        ARCHIVE.check_number(path, shape[0], IMAGES)
        if path.suffix != ".gz":
            return np.memmap(file, kind, "r", file.tell(), shape)
        matrix = np.empty(shape, kind)
        for first in range(0, shape[0], CHUNK_ROWS):
            chunk = matrix[first : first + CHUNK_ROWS]
            chunk[:] = np.frombuffer(file.read(chunk.nbytes), kind).reshape(chunk.shape)
        return matrix


def read_header(path: Path, file: BinaryIO) -> tuple[np.dtype, tuple[int, ...]]:
    """Return the type and the dimensions of the matrix in ``file``, and leave ``file`` at its first value."""
    magic, number = np.frombuffer(file.read(8), "<i4").tolist()
    if magic not in TYPES:
        raise ARCHIVE.damaged_error(path, f"it starts with {magic:#010x}, which is not a matrix of bytes or integers")
    if number > MAX_DIMENSIONS:
        raise ARCHIVE.damaged_error(path, f"it says that it has {number:,} dimensions")
    dimensions = np.frombuffer(file.read(4 * max(number, 3)), "<i4").tolist()
    return TYPES[magic], tuple(dimensions[:number])
