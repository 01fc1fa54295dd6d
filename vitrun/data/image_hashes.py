"""Hashes of images, by which the same image is found in two data sets."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields

import numpy as np

from vitrun.data.split import DECODE_POOL, Encoded, Split
from vitrun.errors import UserError

HASH_BYTES = 8  # of a SHA-256: the probability that any of 10^8 images has the hash of any of 10^6 others is 5e-6
HASHES = 2  # of an image: of its file, and of its pixels
CHUNK = 64  # images that a thread hashes at once


@dataclass(frozen=True)
class HashedSplit(Split):
    """A split that records two hashes of each image when it is decoded: of its file and of its pixels."""

    hashes: np.ndarray = field(default_factory=lambda: np.zeros((0, HASHES), np.int64))  # [N, 2], 0 if not known

    @classmethod
    def wrap(cls, split: Split) -> "HashedSplit":
        """Return a split with hashes of 0; those of images in memory are known at once."""
        hashes = np.zeros((len(split), HASHES), np.int64)
        if split.pixels is not None:
            hashes[:, 1] = [hash_bytes(pixels) for pixels in split.pixels.numpy()]
        return cls(**{f.name: getattr(split, f.name) for f in fields(Split)}, hashes=hashes)

    def load_encoded(self, index: int) -> Encoded:
        """Return the image at ``index`` as its source has it."""
        content = super().load_encoded(index)
        self.hashes[index, 0] = hash_bytes(content)
        return content

    def decode_encoded(self, index: int, data: Encoded) -> np.ndarray:
        """Return the image at ``index``, whose file was read before."""
        image = super().decode_encoded(index, data)
        self.hashes[index, 1] = hash_bytes(image)
        return image


def hash_bytes(content: Encoded) -> int:
    """Return the first bytes of the SHA-256 of the bytes of a file, or of pixels."""
    buffer = np.ascontiguousarray(content).data if isinstance(content, np.ndarray) else content
    return int.from_bytes(hashlib.sha256(buffer).digest()[:HASH_BYTES], "little", signed=True)


def hash_images(split: Split, tick: Callable[[int], None] = lambda number: None) -> np.ndarray:
    """Return the hashes of all images of a split, [N, 2], 0 for those that cannot be read.

    ``tick`` is called with the number of images after every few, and may raise to stop.
    """
    hashed = HashedSplit.wrap(split)

    def decode(first: int) -> int:
        rows = range(first, min(first + CHUNK, len(hashed)))
        for row in rows:
            try:
                hashed.decode(row)
            except UserError:  # which labelling or training reports
                continue
        return len(rows)

    if split.pixels is None:
        for number in DECODE_POOL.map(decode, range(0, len(hashed), CHUNK)):
            tick(number)
    return hashed.hashes


def find_known(hashes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return which images [N] have a hash of ``known`` images: [N, 2], [M, 2] -> bool [N]."""
    same = [np.isin(hashes[:, n], known[:, n]) & (hashes[:, n] != 0) for n in range(HASHES)]
    return np.logical_or(*same)
