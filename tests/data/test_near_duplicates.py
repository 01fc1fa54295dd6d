"""Perceptual hashes: the distances of images, and the matches among many."""

import numpy as np
import pytest
import torch

from helpers.images import make_scenes
from vitrun import data
from vitrun.data import near_duplicates

CPU = torch.device("cpu")


def test_mirroring_an_image_flips_the_signs_listed_for_mirroring():
    views = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (5, 32, 32)).astype(np.float32))
    straight, mirrored = (
        near_duplicates.unpack_signs(near_duplicates.perceptual_hash(v)) for v in (views, views.flip(2))
    )
    assert torch.equal(straight * near_duplicates.MIRROR_SIGNS, mirrored)


def test_none_of_500_unrelated_images_match():
    images = torch.from_numpy(make_scenes(500, 2)).permute(0, 3, 1, 2)
    keys = [str(n) for n in range(500)]
    hashes = near_duplicates.hash_images(
        data.Split(keys, np.zeros(500), ("x",), pixels=images), lambda _: None, pytest.fail
    )["near"]
    for mirrored in (False, True):
        matches = near_duplicates.match_by_hash(hashes[:250], hashes[250:], 24, mirrored, CPU)
        assert len(matches.tests) == 0


def test_the_distance_of_two_hashes_is_their_number_of_differing_bits(monkeypatch):
    monkeypatch.setattr(near_duplicates, "COMPARE_CHUNK", 7)  # several blocks of both
    generator = np.random.default_rng(0)
    tests, trains = (generator.integers(0, 256, (number, 16), dtype=np.uint8) for number in (20, 30))
    trains[::3] = tests[:10] ^ (generator.integers(0, 256, (10, 16)) & generator.integers(0, 30, (10, 1))).astype("u1")
    bits = np.bitwise_count(tests[:, None] ^ trains[None]).sum(-1)
    for distance in (0, 12, 30, 64):
        matches = near_duplicates.match_by_hash(torch.from_numpy(tests), torch.from_numpy(trains), distance, False, CPU)
        assert matches.distances.tolist() == bits[matches.tests, matches.trains].tolist()
        assert set(matches.tests) == set(np.flatnonzero(bits.min(1) <= distance))
        assert set(matches.trains) == set(np.flatnonzero(bits.min(0) <= distance))


def test_all_equal_images_are_matched():
    tests, trains = (torch.tensor(codes, dtype=torch.uint8)[:, None] for codes in ([1, 2, 2, 3], [2, 9, 1, 2, 2]))
    matches = near_duplicates.match_exact(tests, trains)
    assert set(matches.tests) == {0, 1, 2} and set(matches.trains) == {0, 2, 3, 4} and not matches.distances.any()
    assert len(near_duplicates.match_exact(tests[3:], trains).tests) == 0
