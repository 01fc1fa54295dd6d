"""Held-out images of a training set, and the cache of decoded images."""

from dataclasses import replace

import numpy as np
import pytest

from vitrun.data import open_split
from vitrun.data.held_out import hold_out
from vitrun.data.in_memory import MAX_PIXEL_BYTES, cache_decoded
from vitrun.data.split import Split
from vitrun.errors import UserError
from vitrun.recipes.tables import load_data_row


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


@pytest.mark.parametrize(("what", "is_empty"), [("that are left", False), ("held out", True)])
def test_a_share_of_images_with_boxes_is_refused_if_it_or_the_rest_has_no_object(what, is_empty):
    both = open_split(load_data_row("boxes", train_images=2, size=16), "train")
    _, held_out = hold_out(both, 0.5)
    of_image = np.repeat(both.keys, np.diff(both.boxes.starts))
    crowd = (of_image == held_out.keys[0]) == is_empty  # which are no objects
    with pytest.raises(UserError, match=f"none of the 1 images {what} has an object") as error:
        hold_out(replace(both, boxes=replace(both.boxes, crowd=crowd)), 0.5)
    assert (error.value.option, error.value.value) == ("dev", "0.5")


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
