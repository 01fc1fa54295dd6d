"""Random draws are functions of what they are for."""

import numpy as np
import pytest

from vitrun import draws

INDICES = np.arange(2000)


def test_a_number_belongs_to_its_index_whatever_else_is_asked_for():
    whole = draws.uniform(0, "crop", 3, INDICES, 4)
    mixed = np.random.default_rng(0).permutation(INDICES)
    assert np.array_equal(draws.uniform(0, "crop", 3, mixed, 4), whole[mixed])
    for part in ([7], [1999, 7, 7], INDICES[500:900]):
        assert np.array_equal(draws.uniform(0, "crop", 3, np.asarray(part), 4), whole[part])


def test_the_type_of_the_index_does_not_matter():
    wide, narrow = (draws.uniform(0, "crop", 0, INDICES.astype(kind), 2) for kind in (np.int64, np.int32))
    assert np.array_equal(wide, narrow)


@pytest.mark.parametrize("other", [(1, "crop", 3), (0, "flip", 3), (0, "crop", 4)], ids=["seed", "purpose", "epoch"])
def test_another_seed_purpose_or_epoch_gives_unrelated_numbers(other):
    one, two = draws.uniform(0, "crop", 3, INDICES, 1)[:, 0], draws.uniform(*other, INDICES, 1)[:, 0]
    assert not set(one) & set(two)
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.1


def test_numbers_are_about_uniform_in_the_unit_interval_and_do_not_repeat():
    numbers = draws.uniform(5, "crop", 0, np.arange(20_000), 3)  # [20000, 3]
    assert numbers.shape == (20_000, 3) and numbers.dtype == np.float64
    assert numbers.min() >= 0 and numbers.max() < 1
    assert len(np.unique(numbers)) == numbers.size
    shares = np.histogram(numbers, bins=20, range=(0, 1))[0] / numbers.size
    assert np.abs(shares - 0.05).max() < 0.005
    correlations = np.corrcoef(numbers, rowvar=False) - np.eye(3)
    following = np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]
    assert np.abs(correlations).max() < 0.03 and abs(following) < 0.03


def test_the_numbers_are_the_same_on_every_machine_and_in_every_version():
    assert draws.key(0, "crop", 1, 2) == 5413085145229009893
    expected = [[0.4, 0.4], [0.4, 0.4]]
    assert draws.uniform(0, "crop", 1, np.array([0, 9]), 2) == pytest.approx(np.array(expected), abs=1e-12)


def test_a_generator_repeats_itself_for_the_same_purpose_only():
    first, again, other = (draws.generator(0, "order", epoch).permutation(1000) for epoch in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.array_equal(np.sort(first), np.arange(1000))


def test_no_two_purposes_share_a_key():
    keys = {draws.key(s, p, *n) for s in range(20) for p in ("a", "b", "ab") for n in [(), *((e,) for e in range(20))]}
    assert len(keys) == 20 * 3 * 21 and all(0 <= key < 2**63 for key in keys)
