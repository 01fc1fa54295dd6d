"""The order in which TensorFlow Datasets stores the examples of a split, without TensorFlow."""

import hashlib
from collections.abc import Sequence

import numpy as np


def tfds_digest(key: str | bytes, salt: bytes) -> bytes:
    """Return the 16 bytes by which an example is sorted: MD5 of the split's name and the key (tfds core/hashing.py).

    An integer key is hashed as its decimal digits. In text a backslash counts as a slash, in bytes it does not.
    """
    if isinstance(key, str):
        key = key.replace("\\", "/").encode()
    return hashlib.md5(salt + key, usedforsecurity=False).digest()


def tfds_order(keys: Sequence[str | bytes], split: str) -> np.ndarray:
    """Return the indices that sort ``keys`` into TFDS's order, by ascending digest: N keys -> [N] int64."""
    salt = split.encode()
    digests = b"".join(tfds_digest(key, salt) for key in keys)
    high, low = np.frombuffer(digests, dtype=">u8").reshape(-1, 2).T
    return np.lexsort((low, high))
