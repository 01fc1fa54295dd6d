"""The order in which TensorFlow Datasets (TFDS) stores and reads the examples of a split, without TensorFlow."""

import hashlib
from collections.abc import Sequence

import numpy as np

CYCLE = 16  # shards that are read in turn
BLOCK = 16  # examples that are read from one before the next


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


def read_order(images: int, shards: int, first: int) -> np.ndarray:
    """Return the positions in TFDS's order of the ``first`` examples of a split as it reads them: [first] int64.

    A shard has consecutive examples (tfds core/utils/shard_utils.py: get_shard_boundaries). ``CYCLE`` shards are open
    at a time, and ``BLOCK`` examples are read from each in turn. The turn in which a shard is found to be at its end
    reads nothing more, and the next shard takes its place (tf.data's interleave, as called in tfds core/reader.py).
    """
    bounds = [round(images * shard / shards) for shard in range(shards + 1)]
    waiting = [(start, min(stop, first)) for start, stop in zip(bounds, bounds[1:]) if start < first]
    slots, waiting = waiting[:CYCLE], waiting[CYCLE:]
    blocks: list[np.ndarray] = []
    while slots:
        following = []
        for start, stop in slots:
            blocks.append(np.arange(start, min(start + BLOCK, stop)))
            if start + BLOCK <= stop:  # if equal, the next turn finds the end
                following.append((start + BLOCK, stop))
            elif waiting:
                following.append(waiting.pop(0))
        slots = following
    return np.concatenate(blocks)
