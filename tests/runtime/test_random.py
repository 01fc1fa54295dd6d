"""Random draws are functions of seed, purpose, epoch and index."""

import hashlib

import numpy as np
import pytest

from vitrun.runtime import random

INDICES = np.arange(2000)


def test_a_number_depends_on_its_index_and_not_on_the_others_drawn_with_it():
    numbers = random.uniform(0, "crop", 3, INDICES, 4)
    mixed = np.random.default_rng(0).permutation(INDICES)
    assert np.array_equal(random.uniform(0, "crop", 3, mixed, 4), numbers[mixed])
    for part in ([7], [1999, 7, 7], INDICES[500:900]):
        assert np.array_equal(random.uniform(0, "crop", 3, np.asarray(part), 4), numbers[part])


def test_the_integer_type_of_the_index_does_not_matter():
    wide, narrow = (random.uniform(0, "crop", 0, INDICES.astype(kind), 2) for kind in (np.int64, np.int32))
    assert np.array_equal(wide, narrow)


@pytest.mark.parametrize("other", [(1, "crop", 3), (0, "flip", 3), (0, "crop", 4)], ids=["seed", "purpose", "epoch"])
def test_another_seed_purpose_or_epoch_gives_unrelated_numbers(other):
    one, two = random.uniform(0, "crop", 3, INDICES, 1)[:, 0], random.uniform(*other, INDICES, 1)[:, 0]
    assert not set(one) & set(two)
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.1


def test_numbers_are_uniform_in_the_unit_interval_and_do_not_repeat():
    numbers = random.uniform(5, "crop", 0, np.arange(20_000), 3)  # [20000, 3]
    assert numbers.shape == (20_000, 3) and numbers.dtype == np.float64
    assert numbers.min() >= 0 and numbers.max() < 1
    assert len(np.unique(numbers)) == numbers.size
    shares = np.histogram(numbers, bins=20, range=(0, 1))[0] / numbers.size
    assert np.abs(shares - 0.05).max() < 0.005
    correlations = np.corrcoef(numbers, rowvar=False) - np.eye(3)
    following = np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]
    assert np.abs(correlations).max() < 0.03 and abs(following) < 0.03


def split_mix_64(state: int) -> int:
    """Return the output of SplitMix64 for a state, in Python's integers."""
    z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def test_the_numbers_are_those_of_split_mix_64():
    golden = 0x9E3779B97F4A7C15
    assert split_mix_64(1234567 + golden) == 6457827717110365317, "as published for seed 1234567"
    start = random.derive_seed(0, "crop", 1)
    assert start == int.from_bytes(hashlib.sha256(b"0/crop/1").digest()[:8], "little") // 2
    draws = random.uniform(0, "crop", 1, np.array([0, 9, 10**7]), 2)
    for row, index in zip(draws, (0, 9, 10**7)):
        for position, number in enumerate(row, index * 2):
            assert number == split_mix_64((start + (position + 1) * golden) % 2**64) // 2**11 / 2**53


def test_a_generator_repeats_itself_for_the_same_purpose_only():
    first, again, other = (random.make_generator(0, "order", epoch).permutation(1000) for epoch in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.array_equal(np.sort(first), np.arange(1000))


def test_no_two_purposes_share_a_key():
    keys = {
        random.derive_seed(s, p, *n)
        for s in range(20)
        for p in ("a", "b", "ab")
        for n in [(), *((e,) for e in range(20))]
    }
    assert len(keys) == 20 * 3 * 21 and all(0 <= key < 2**63 for key in keys)
