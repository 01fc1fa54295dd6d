"""Splits whose images stay in memory once they are decoded."""

from dataclasses import replace

import numpy as np
import torch

from vitrun.data.split import DECODE_POOL, BadImage, Split

MAX_PIXEL_BYTES = 2**30  # bytes of pixels that a split of equal images may take to be decoded once
DECODE_CHUNK = 500  # images a thread decodes at a time
TINY_PIXELS = (
    32 * 32
)  # pixels: decoding no more takes less time than threads lose by handing Python's lock to each other


def cache_decoded(split: Split) -> Split:
    """The split whose images stay in memory once they are decoded, as many as take ``MAX_PIXEL_BYTES`` bytes."""
    images: dict[int, np.ndarray] = {}
    taken = 0

    def encoded(index: int) -> np.ndarray:
        nonlocal taken
        if (image := images.get(index)) is None:
            image = split.decode(index).transpose(1, 2, 0)  # [h, w, 3]
            if taken + image.nbytes <= MAX_PIXEL_BYTES:  # threads may count one image twice, and keep it once
                images[index] = image
                taken += image.nbytes
        return image

    return replace(split, read_encoded=encoded)


def decode_to_memory(split: Split) -> Split:
    """The split with its pixels in memory, where its images are of one size, few enough and sound; else as it is."""
    probe = [try_decode(split, row) for row in range(0, len(split), max(1, len(split) // 16))]
    sides = {image.shape if image is not None else None for image in probe}
    if len(sides) > 1 or None in sides or probe[0].size * len(split) > MAX_PIXEL_BYTES:
        return split
    pixels = np.empty((len(split), *probe[0].shape), dtype=np.uint8)

    def place(start: int) -> bool:
        for row in range(start, min(start + DECODE_CHUNK, len(split))):
            image = try_decode(split, row)
            if image is None or image.shape != pixels.shape[1:]:
                return False
            pixels[row] = image
        return True

    _, height, width = probe[0].shape
    spread = map if height * width <= TINY_PIXELS else DECODE_POOL.map
    fits = all(spread(place, range(0, len(split), DECODE_CHUNK)))
    return replace(split, pixels=torch.from_numpy(pixels), read_encoded=None) if fits else split


def try_decode(split: Split, row: int) -> np.ndarray | None:
    """The image at ``row``, or None where it is bad."""
    try:
        return split.decode(row)
    except BadImage:
        return None
