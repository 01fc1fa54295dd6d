"""Splits whose images are decoded once and stay in memory."""

from dataclasses import replace
from math import prod

import numpy as np
import torch

from vitrun.data.split import DECODE_POOL, BadImage, Split

MAX_PIXEL_BYTES = 2**30  # bytes of pixels up to which a split is decoded into memory
DECODE_CHUNK = 500  # images per task of a thread
TINY_PIXELS = 32 * 32  # up to this size decoding takes less time than threads lose by passing Python's lock around


def cache_decoded(split: Split) -> Split:
    """Return the split with a cache of its decoded images, up to ``MAX_PIXEL_BYTES`` bytes."""
    images: dict[int, np.ndarray] = {}
    cached_bytes = 0

    def read_encoded(index: int) -> np.ndarray:
        nonlocal cached_bytes
        if (image := images.get(index)) is None:
            image = split.decode(index).transpose(1, 2, 0)  # [h, w, 3]
            if cached_bytes + image.nbytes <= MAX_PIXEL_BYTES:  # two threads may count one image twice: harmless
                images[index] = image
                cached_bytes += image.nbytes
        return image

    return replace(split, read_encoded=read_encoded)


def decode_to_memory(split: Split) -> Split:
    """Return the split with its pixels in memory if its images are readable, of one size, and few; else unchanged."""
    probe = [try_decode(split, row) for row in range(0, len(split), max(1, len(split) // 16))]
    shapes = {image.shape if image is not None else None for image in probe}
    shape = shapes.pop()
    if shapes or shape is None or prod(shape) * len(split) > MAX_PIXEL_BYTES:
        return split
    pixels = np.empty((len(split), *shape), dtype=np.uint8)

    def decode_chunk(start: int) -> bool:
        for row in range(start, min(start + DECODE_CHUNK, len(split))):
            image = try_decode(split, row)
            if image is None or image.shape != pixels.shape[1:]:
                return False
            pixels[row] = image
        return True

    _, height, width = shape
    map_chunks = map if height * width <= TINY_PIXELS else DECODE_POOL.map
    fits = all(map_chunks(decode_chunk, range(0, len(split), DECODE_CHUNK)))
    return replace(split, pixels=torch.from_numpy(pixels), read_encoded=None) if fits else split


def try_decode(split: Split, row: int) -> np.ndarray | None:
    """Return the image at ``row``, or None if it is bad."""
    try:
        return split.decode(row)
    except BadImage:
        return None
