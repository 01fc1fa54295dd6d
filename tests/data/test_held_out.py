"""Held-out images of a training set, and the cache of decoded images."""

import numpy as np
import pytest

from vitrun.data.in_memory import MAX_PIXEL_BYTES, cache_decoded
from vitrun.data.split import Split, hold_out
from vitrun.errors import UserError


def make_split(labels: list[int], **fields) -> Split:
    return Split([str(n) for n in range(len(labels))], np.array(labels), ("a", "b"), **fields)


def test_held_out_images_are_drawn_from_the_whole_set_and_are_the_same_in_every_run():
    images = make_split([0] * 500 + [1] * 500)
    (training, held_out), (again, _) = hold_out(images, 0.1), hold_out(images, 0.1)
    assert len(held_out) == 100 and 30 < held_out.labels.sum() < 70 and list(training.keys) == list(again.keys)
    assert sorted([*training.keys, *held_out.keys]) == sorted(images.keys) and not set(training.keys) & set(
        held_out.keys
    )
    assert len(hold_out(images, 0.0001)[1]) == 1
    with pytest.raises(UserError, match="leaves none of 1000 training images") as error:
        hold_out(images, 0.9999)
    assert (error.value.option, error.value.value) == ("dev", "0.9999")


def test_a_cached_image_is_decoded_once_and_stays_the_same():
    reads = []
    pixels = [np.random.default_rng(n).integers(0, 256, (4 + n, 6, 3), dtype=np.uint8) for n in range(3)]
    one = make_split([0, 1, 0], read_encoded=lambda index: (reads.append(index), pixels[index])[1])
    two = cache_decoded(one)
    for _ in range(3):
        assert all((two.decode(n) == pixels[n].transpose(2, 0, 1)).all() for n in range(3))
    assert reads == [0, 1, 2]


def test_images_are_cached_only_up_to_a_limit(monkeypatch):
    reads = []
    pixels = np.zeros((4, 6, 3), np.uint8)
    monkeypatch.setattr("vitrun.data.in_memory.MAX_PIXEL_BYTES", 2 * pixels.nbytes)
    two = cache_decoded(make_split([0, 1, 0], read_encoded=lambda index: (reads.append(index), pixels)[1]))
    for _ in range(3):
        [two.decode(n) for n in range(3)]
    assert reads == [0, 1, 2, 2, 2] and MAX_PIXEL_BYTES == 2**30
