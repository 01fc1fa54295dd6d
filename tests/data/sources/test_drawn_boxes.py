"""Drawn images with boxes: the same every time, and the boxes fit."""

from dataclasses import replace

import numpy as np
import torch

from vitrun.data import open_split
from vitrun.recipes import tables


def test_drawn_boxes_are_those_of_what_is_drawn():
    alone = tables.load_data_row("boxes", train_images=200, test_images=3, objects=1, size=48)
    split = open_split(alone, "train")
    ground = split.pixels[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].float().mean(2)  # no object is in all corners
    is_object = (split.pixels.float() - ground[..., None, None]).abs().amax(1) > 90
    for mask, box in zip(is_object, split.boxes.corners):
        lines = [mask.sum(axis) > 1 for axis in (0, 1)]  # a single pixel may be noise
        found = [line.nonzero().flatten() for line in lines]
        if all(len(line) for line in found):
            assert np.abs([line[0] for line in found] - box[:2]).max() <= 4
            assert np.abs([line[-1] + 1 for line in found] - box[2:]).max() <= 4


def test_drawn_boxes_are_deterministic_and_have_every_class():
    row = tables.load_data_row("boxes", train_images=300, test_images=3)
    first, second = (open_split(row, "train") for _ in range(2))
    assert torch.equal(first.pixels, second.pixels) and first.fingerprint == second.fingerprint
    assert {*first.boxes.labels} == {*range(8)} and {*np.diff(first.boxes.starts)} == {1, 2, 3, 4}
    assert ((first.boxes.corners >= 0) & (first.boxes.corners <= 64)).all()
    colours = open_split(replace(row, target="colour"), "train")
    assert torch.equal(colours.pixels, first.pixels) and {*colours.boxes.labels} == {*range(8)}
    assert not {*first.keys} & {*open_split(row, "test").keys}
