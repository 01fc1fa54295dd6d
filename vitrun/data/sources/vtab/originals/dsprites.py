"""dSprites: every combination of six factors drawn once, in one deflated archive of NumPy arrays.

The images are three gigabytes of zeros and ones, deflated as one stream that can only be read from its start. The
first image that is read unpacks them all and stores them as bits, deflated in blocks: about ten megabytes, from which
any image is read in a fraction of a millisecond.
"""

import math
import zlib
from functools import cache
from pathlib import Path
from threading import Lock
from typing import IO
from zipfile import ZipFile

import numpy as np

from vitrun.data.sources.vtab.originals import vtab_labels
from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit

FILE_NAME = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
ARCHIVE = Archive("dsprites", FILE_NAME, "https://github.com/google-deepmind/dsprites-dataset")
SIDE = 64
MAX_ROW = 1024  # bytes of the factors of an image
BLOCK_SIZE = 256  # images that are deflated together
LOCK = Lock()  # many threads read images, and the first unpacks for all


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return all images, keyed by row number: tensorflow_datasets has one split, ``train``."""
    path = ARCHIVE.find(root, FILE_NAME)
    with ARCHIVE.explain_errors(path), ZipFile(path) as archive:
        with archive.open("latents_classes.npy") as file:
            shape, kind = read_header(file)
        ARCHIVE.check_number(path, shape[0] if shape else 0)
        if math.prod(shape[1:]) * kind.itemsize > MAX_ROW:
            raise ARCHIVE.damaged_error(path, f"latents_classes is {list(shape)} of {kind}, not [N, 6]")
        with archive.open("latents_classes.npy") as file:
            classes = np.lib.format.read_array(file, allow_pickle=False)  # [N, 6]: colour, shape, scale, turn, x, y
        rows = np.arange(len(classes))
        in_order = np.array_equal(classes[:, 1:].T, vtab_labels.dsprites_factors(rows))
    if not in_order:
        raise ARCHIVE.damaged_error(path, "its images are not in the order of their factors, y fastest")
    return OriginalSplit(
        keys=[str(row) for row in rows],
        labels={
            "label_x_position": vtab_labels.dsprites_x_position(rows),
            "label_orientation": vtab_labels.dsprites_orientation(rows),
        },
        classes={"label_x_position": vtab_labels.DSPRITES_BINS, "label_orientation": vtab_labels.DSPRITES_BINS},
        image=lambda index: unpack_image(path, len(rows), index),
        location=str(path),
    )


def unpack_image(path: Path, number: int, index: int) -> np.ndarray:
    """Return the image at a row of so many: [64, 64] uint8 of 0 and 255."""
    with LOCK:
        blocks = read_blocks(path, number)
    bits = zlib.decompress(blocks[index // BLOCK_SIZE])
    first = index % BLOCK_SIZE * SIDE * SIDE // 8
    return 255 * np.unpackbits(np.frombuffer(bits, np.uint8)[first : first + SIDE * SIDE // 8]).reshape(SIDE, SIDE)


@cache
def read_blocks(path: Path, number: int) -> list[bytes]:
    """Return the bits of all images, a ``number`` of them, in deflated blocks; the file is read only once."""
    with ARCHIVE.explain_errors(path), ZipFile(path) as archive, archive.open("imgs.npy") as file:
        shape, kind = read_header(file)
        if shape[1:] != (SIDE, SIDE) or kind != np.uint8:
            raise ARCHIVE.damaged_error(path, f"imgs is {list(shape)} of {kind}, not [N, {SIDE}, {SIDE}] of uint8")
        if shape[0] != number:
            raise ARCHIVE.damaged_error(path, f"it has {shape[0]:,} images, but the factors of {number:,}")
        blocks, left = [], number * SIDE * SIDE
        while left and (pixels := file.read(min(left, BLOCK_SIZE * SIDE * SIDE))):
            blocks.append(zlib.compress(np.packbits(np.frombuffer(pixels, np.uint8)).data, 1))
            left -= len(pixels)
        if left:
            raise ARCHIVE.damaged_error(path, f"its images are cut short by {left:,} bytes")
        return blocks


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Return the shape and the type of the array in an ``.npy`` file, and leave it at its first value."""
    version = np.lib.format.read_magic(file)
    parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = parse(file)
    return shape, kind
