"""Test images that are in a training set too: exact copies, and near-duplicates by a perceptual hash or by features.

The paper removes near-duplicates "following BiT" (section 4.1), and BiT (arXiv 1912.11370, appendix C) publishes
neither its detector nor a list of the images: the detectors here are others, and find other numbers of images.

The hash is the signs of the lowest frequencies of the discrete cosine transform of a small grey view, after Zauner
2010 ("Implementation and benchmarking of perceptual image hash functions", section 3.2.1), which has 64 of them
and compares with their median. Mirroring an image changes the signs of the odd horizontal frequencies only.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vitrun.data.split import DECODE_POOL, BadImage, Split

HASH_SIDE = 32  # pixels of the grey view
HASH_BITS = 128  # 64 give more false pairs among the 5 * 10^8 of CIFAR-10, 256 miss images shifted by a pixel
GREY_WEIGHTS = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601
HASH_CHUNK = 500  # images hashed between two calls of ``tick``
COMPARE_CHUNK = 2048  # images of each split compared at a time
ROUNDING = 1e-5  # by which the cosine of two equal vectors may be below 1

DOWN, ACROSS = (axis.ravel() for axis in np.meshgrid(np.arange(HASH_SIDE), np.arange(HASH_SIDE), indexing="ij"))
LOWEST_FREQUENCIES = np.argsort(DOWN**2 + ACROSS**2, kind="stable")[1 : HASH_BITS + 1]  # without the mean
# [frequency, pixel]
COSINES = torch.cos(pi / HASH_SIDE * torch.arange(HASH_SIDE)[:, None] * (torch.arange(HASH_SIDE)[None] + 0.5))
MIRROR_SIGNS = torch.from_numpy(
    1.0 - 2.0 * (ACROSS[LOWEST_FREQUENCIES] % 2)
).float()  # [HASH_BITS] 1, or -1 if mirroring changes the sign
BLANK_VIEW = torch.zeros(HASH_SIDE, HASH_SIDE)  # in place of an image that cannot be read


@dataclass(frozen=True)
class Pairs:
    """P pairs of a test and a training image: their rows in the splits, and their distances."""

    tests: np.ndarray
    trains: np.ndarray
    distances: np.ndarray


def hash_images(split: Split, tick: Callable[[int], None], bad: Callable[[BadImage], None]) -> dict[str, Tensor]:
    """Return two hashes of every image.

    ``exact`` is the SHA-256 of size and RGB pixels, uint8 [N, 32]; ``near`` the perceptual hash, uint8
    [N, HASH_BITS / 8]. ``bad`` is called for each image that cannot be read; both its hashes are of its bytes, so that
    it matches exact copies only. ``tick`` is called with the number of images done.
    """

    def hash_image(row: int) -> tuple[Tensor, Tensor | BadImage]:
        try:
            image = torch.from_numpy(split.decode(row)) if split.pixels is None else split.pixels[row]
        except BadImage as error:
            return digest_pixels(torch.from_numpy(split.raw(row).copy())), error
        return digest_pixels(image), make_grey_view(image)

    exact, near = [], []
    for first in range(0, len(split), HASH_CHUNK):
        rows = range(first, min(first + HASH_CHUNK, len(split)))
        digests, views = zip(*DECODE_POOL.map(hash_image, rows))
        hashes = perceptual_hash(torch.stack([BLANK_VIEW if isinstance(view, BadImage) else view for view in views]))
        for place, view in enumerate(views):
            if isinstance(view, BadImage):
                hashes[place] = digests[place][: HASH_BITS // 8]
                bad(view)
        exact.append(torch.stack(digests))
        near.append(hashes)
        tick(len(rows))
    return {"exact": torch.cat(exact), "near": torch.cat(near)}


def digest_pixels(pixels: Tensor) -> Tensor:
    """Return the SHA-256 of an image's size and pixels: uint8 of any shape -> uint8 [32]."""
    code = hashlib.sha256(repr(tuple(pixels.shape)).encode() + pixels.contiguous().numpy().tobytes())
    return torch.frombuffer(bytearray(code.digest()), dtype=torch.uint8)


def make_grey_view(image: Tensor) -> Tensor:
    """Return the grey view of an image: uint8 [3, h, w] -> float32 [HASH_SIDE, HASH_SIDE]."""
    if image.shape[1:] != (HASH_SIDE, HASH_SIDE):
        image = functional.interpolate(image[None], (HASH_SIDE, HASH_SIDE), mode="bilinear", antialias=True)[0]
    return (image.float() * GREY_WEIGHTS[:, None, None]).sum(0)


def perceptual_hash(views: Tensor) -> Tensor:
    """Return the packed perceptual hash: [B, HASH_SIDE, HASH_SIDE] -> uint8 [B, HASH_BITS / 8]."""
    frequencies = (COSINES @ views @ COSINES.T).flatten(1)[:, LOWEST_FREQUENCIES]
    return torch.from_numpy(np.packbits(frequencies.numpy() > 0, axis=1))


def unpack_signs(packed: Tensor) -> Tensor:
    """Return a unit vector for each hash: [B, HASH_BITS / 8] -> [B, HASH_BITS].

    The cosine of two is 1 - 2 * distance / HASH_BITS.
    """
    bits = torch.from_numpy(np.unpackbits(packed.numpy(), axis=1))
    return (bits.float() * 2 - 1) / HASH_BITS**0.5


def normalize_features(features: Tensor) -> Tensor:
    """Return features scaled to length 1: [B, D] -> [B, D]."""
    return functional.normalize(features.float(), dim=1)


def match_exact(tests: Tensor, trains: Tensor) -> Pairs:
    """Return pairs of equal digests: each image that has equal ones is paired with the first of them."""
    places: dict[bytes, list[int]] = {}
    for place, code in enumerate(map(bytes, tests.numpy())):
        places.setdefault(code, []).append(place)
    equal = [(code, row) for row, code in enumerate(map(bytes, trains.numpy())) if code in places]
    first = {code: row for code, row in reversed(equal)}
    pairs = {(places[code][0], row) for code, row in equal}
    pairs |= {(place, row) for code, row in first.items() for place in places[code]}
    test_rows, train_rows = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
    return Pairs(test_rows, train_rows, np.zeros(len(test_rows)))


def match_by_cosine(
    tests: Tensor, trains: Tensor, vectors: Callable[[Tensor], Tensor], least: float, device: torch.device
) -> Pairs:
    """Return pairs with a cosine of at least ``least``: each image that has any is paired with its nearest.

    ``tests`` are unit vectors [M, D]; ``vectors`` makes those of some rows of ``trains``. Distances are 1 - cosine.
    Memory grows as M + N.
    """
    least -= ROUNDING
    of_test, of_train = (torch.full((2, len(rows)), -torch.inf, dtype=torch.float64) for rows in (tests, trains))
    for row in range(0, len(trains), COMPARE_CHUNK):
        block = vectors(trains[row : row + COMPARE_CHUNK]).to(device)
        for place in range(0, len(tests), COMPARE_CHUNK):
            cosines = tests[place : place + COMPARE_CHUNK].to(device) @ block.T  # [M', N']
            if cosines.max() >= least:
                update_nearest(of_test, place, cosines, row)
                update_nearest(of_train, row, cosines.T, place)
    pairs = {(place, int(of_test[1, place])): float(of_test[0, place]) for place in matched_rows(of_test, least)}
    pairs |= {(int(of_train[1, row]), row): float(of_train[0, row]) for row in matched_rows(of_train, least)}
    test_rows, train_rows = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
    return Pairs(test_rows, train_rows, np.maximum(0, 1 - np.array([pairs[pair] for pair in sorted(pairs)])))


def update_nearest(best: Tensor, first: int, cosines: Tensor, other: int) -> None:
    """Update ``best``, the largest cosines and their columns [2, N], for rows from ``first`` by ``cosines`` [B, A]."""
    values, places = cosines.max(1)
    here = best[:, first : first + len(values)]
    better = values.cpu() > here[0]
    here[:, better] = torch.stack([values.cpu().double(), places.cpu() + other])[:, better]


def matched_rows(best: Tensor, least: float) -> list[int]:
    """Return the rows whose best cosine is at least ``least``."""
    return (best[0] >= least).nonzero()[:, 0].tolist()


def match_by_hash(tests: Tensor, trains: Tensor, distance: int, mirrored: bool, device: torch.device) -> Pairs:
    """Return pairs whose hashes differ in at most ``distance`` bits, with the test images mirrored first if asked."""
    vectors = unpack_signs(tests) * MIRROR_SIGNS if mirrored else unpack_signs(tests)
    pairs = match_by_cosine(vectors, trains, unpack_signs, 1 - 2 * distance / HASH_BITS, device)
    return Pairs(pairs.tests, pairs.trains, np.rint(pairs.distances * HASH_BITS / 2))
