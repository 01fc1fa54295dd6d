"""Random draws as pure functions of seed, purpose and index: a run resumes exactly without saved state."""

import hashlib

import numpy as np

GOLDEN, MIX1, MIX2 = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def derive_seed(seed: int, purpose: str, *numbers: int) -> int:
    """Return a 63-bit integer derived from the seed, a purpose and numbers such as the epoch or step."""
    text = "/".join(map(str, (seed, purpose, *numbers)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def make_generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Return NumPy's generator for one purpose."""
    return np.random.Generator(np.random.Philox(derive_seed(seed, purpose, *numbers)))


def uniform(seed: int, purpose: str, epoch: int, indices: np.ndarray, count: int) -> np.ndarray:
    """Return ``count`` numbers in [0, 1) for each index, independent of the other indices: [B] -> [B, count] float64.

    SplitMix64 (Steele, Lea and Flood 2014) as a hash of (seed, purpose, epoch, index, position).
    """
    positions = indices.astype(np.uint64)[:, None] * np.uint64(count) + np.arange(count, dtype=np.uint64)
    with np.errstate(over="ignore"):  # the hash is arithmetic modulo 2^64
        z: np.ndarray = np.uint64(derive_seed(seed, purpose, epoch)) + (positions + np.uint64(1)) * GOLDEN
        z = (z ^ (z >> np.uint64(30))) * MIX1
        z = (z ^ (z >> np.uint64(27))) * MIX2
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)) * 2.0**-53
