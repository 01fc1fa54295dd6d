"""dSprites: every combination of six factors drawn once, in one deflated archive of NumPy arrays.

The images are three gigabytes of zeros and ones, deflated as one stream that can only be read from its beginning. It
is read once, at the first image that is asked for, and kept as bits, deflated again in blocks: some ten megabytes, of
which any image is a fraction of a millisecond away.
"""

import zlib
from functools import cache
from pathlib import Path
from threading import Lock
from zipfile import ZipFile

import numpy as np

from vitrun.data.sources.vtab.originals import labels
from vitrun.data.sources.vtab.originals.original import Original
from vitrun.data.sources.vtab.originals.published import Published

NAME = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
PUBLISHED = Published("dsprites", NAME, "https://github.com/google-deepmind/dsprites-dataset")
SIDE = 64
BLOCK = 256  # images that are deflated together
LOCK = Lock()  # images are asked for by many threads, and the first unpacks for all


def read(root: Path, split: str) -> Original:
    """All images, keyed by row number: tensorflow_datasets has one split, ``train``."""
    path = PUBLISHED.find(root, NAME)
    with PUBLISHED.reading(path), np.load(path, allow_pickle=False) as archive:
        classes = archive["latents_classes"]  # [N, 6]: colour, shape, scale, orientation, x, y
        rows = np.arange(len(classes))
        in_order = np.array_equal(classes[:, 1:].T, labels.dsprites_factors(rows))
    if not in_order:
        raise PUBLISHED.broken(path, "its images are not in the order of their factors, y fastest")
    return Original(
        keys=[str(row) for row in rows],
        labels={
            "label_x_position": labels.dsprites_x_position(rows),
            "label_orientation": labels.dsprites_orientation(rows),
        },
        classes={"label_x_position": labels.DSPRITES_BINS, "label_orientation": labels.DSPRITES_BINS},
        image=lambda index: image(path, index),
        where=str(path),
    )


def image(path: Path, index: int) -> np.ndarray:
    """The image at a row: [64, 64] uint8 of 0 and 255."""
    with LOCK:
        unpacked = blocks(path)
    bits = zlib.decompress(unpacked[index // BLOCK])
    first = index % BLOCK * SIDE * SIDE // 8
    return 255 * np.unpackbits(np.frombuffer(bits, np.uint8)[first : first + SIDE * SIDE // 8]).reshape(SIDE, SIDE)


@cache
def blocks(path: Path) -> list[bytes]:
    """The bits of all images, deflated a block: read through once, and kept for all who ask."""
    with PUBLISHED.reading(path), ZipFile(path) as archive, archive.open("imgs.npy") as file:
        np.lib.format.read_magic(file)
        shape, _, kind = np.lib.format.read_array_header_1_0(file)
        if shape[1:] != (SIDE, SIDE) or kind != np.uint8:
            raise PUBLISHED.broken(path, f"imgs is {list(shape)} of {kind}, not [N, {SIDE}, {SIDE}] of uint8")
        found = []
        while pixels := file.read(BLOCK * SIDE * SIDE):
            found.append(zlib.compress(np.packbits(np.frombuffer(pixels, np.uint8)), 1))
        return found
