"""The order in which TensorFlow Datasets keeps the examples of a split, without TensorFlow."""

import hashlib
from collections.abc import Sequence

import numpy as np


def tfds_digest(key: str | bytes, salt: bytes) -> bytes:
    """The 16 bytes that place an example: MD5 of the split's name and the key (tfds core/hashing.py).

    An integer key is hashed as its decimal digits; a backslash in text counts as a slash, in bytes it does not.
    """
    if isinstance(key, str):
        key = key.replace("\\", "/").encode()
    return hashlib.md5(salt + key, usedforsecurity=False).digest()


def tfds_order(keys: Sequence[str | bytes], split: str) -> np.ndarray:
    """The places of ``keys`` in TFDS's order: ascending digests, read as whole numbers: N keys -> [N] int64."""
    salt = split.encode()
    digests = b"".join(tfds_digest(key, salt) for key in keys)
    high, low = np.frombuffer(digests, dtype=">u8").reshape(-1, 2).T
    return np.lexsort((low, high))
