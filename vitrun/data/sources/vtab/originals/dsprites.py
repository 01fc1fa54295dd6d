"""dSprites: every combination of six factors drawn once, in one deflated archive of NumPy arrays.

The images are three gigabytes of zeros and ones, deflated as one stream that can only be read from its start. The
first image that is read unpacks them all and stores them as bits, deflated in blocks: about ten megabytes, from which
any image is read in a fraction of a millisecond.
"""

import zlib
from functools import cache
from pathlib import Path
from threading import Lock
from zipfile import ZipFile

import numpy as np

from vitrun.data.sources.vtab.originals import vtab_labels
from vitrun.data.sources.vtab.originals.archive import Archive, OriginalSplit

FILE_NAME = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
ARCHIVE = Archive("dsprites", FILE_NAME, "https://github.com/google-deepmind/dsprites-dataset")
SIDE = 64
BLOCK_SIZE = 256  # images that are deflated together
LOCK = Lock()  # many threads read images, and the first unpacks for all


def read_split(root: Path, split: str) -> OriginalSplit:
    """Return all images, keyed by row number: tensorflow_datasets has one split, ``train``."""
    path = ARCHIVE.find(root, FILE_NAME)
    with ARCHIVE.explain_errors(path), np.load(path, allow_pickle=False) as archive:
        classes = archive["latents_classes"]  # [N, 6]: colour, shape, scale, orientation, x, y
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
        image=lambda index: unpack_image(path, index),
        location=str(path),
    )


def unpack_image(path: Path, index: int) -> np.ndarray:
    """Return the image at a row: [64, 64] uint8 of 0 and 255."""
    with LOCK:
        blocks = read_blocks(path)
    bits = zlib.decompress(blocks[index // BLOCK_SIZE])
    first = index % BLOCK_SIZE * SIDE * SIDE // 8
    return 255 * np.unpackbits(np.frombuffer(bits, np.uint8)[first : first + SIDE * SIDE // 8]).reshape(SIDE, SIDE)


@cache
def read_blocks(path: Path) -> list[bytes]:
    """Return the bits of all images in deflated blocks; the file is read only once."""
    with ARCHIVE.explain_errors(path), ZipFile(path) as archive, archive.open("imgs.npy") as file:
        np.lib.format.read_magic(file)
        shape, _, kind = np.lib.format.read_array_header_1_0(file)
        if shape[1:] != (SIDE, SIDE) or kind != np.uint8:
            raise ARCHIVE.damaged_error(path, f"imgs is {list(shape)} of {kind}, not [N, {SIDE}, {SIDE}] of uint8")
        blocks = []
        while pixels := file.read(BLOCK_SIZE * SIDE * SIDE):
            blocks.append(zlib.compress(np.packbits(np.frombuffer(pixels, np.uint8)).data, 1))
        return blocks
