"""Boxes follow their images through views, selections and new names of classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vitrun import data
from vitrun.data import BoxTable, Split, pad_boxes, relabel, train_batches
from vitrun.data.class_names import describe_unlabelled
from vitrun.data.transforms.crops import CROPS
from vitrun.data.transforms.views import CenterCropView, CropView

SIZE = (60, 90)  # height and width


def make_split(number=4, seed=0, per_image=(1, 0, 2, 3)):
    """Return dark images with bright objects, and their boxes; every second image is without any if it has 0."""
    generator = np.random.default_rng(seed)
    counts = np.resize(per_image, number)
    first = generator.integers(4, 30, (counts.sum(), 2)).astype(float)
    corners = np.concatenate([first, first + generator.integers(12, 25, first.shape)], 1)
    pixels = torch.zeros(number, 3, *SIZE, dtype=torch.uint8)
    for image, (left, top, right, bottom) in zip(np.repeat(range(number), counts), corners.astype(int)):
        pixels[image, :, top:bottom, left:right] = 255
    table = BoxTable(
        starts=np.concatenate([[0], counts.cumsum()]),
        corners=corners,
        labels=np.arange(counts.sum()) % 3,
        crowd=np.zeros(counts.sum(), bool),
        areas=(corners[:, 2:] - corners[:, :2]).prod(1),
        sizes=np.tile(SIZE, (number, 1)),
        image_ids=np.arange(number) * 10 + 7,
        category_ids=np.array([1, 4, 90]),
    )
    keys = [f"image {row}" for row in range(number)]
    return Split(keys, table.image_labels(), ("ape", "bat", "cat"), pixels=pixels, boxes=table)


def find_bright(image):
    """Return left, top, right and bottom of what is bright in [3, R, R], relative to the image."""
    lines = [(image.amax((0, axis)) > 0).nonzero().flatten() for axis in (1, 2)]
    return torch.tensor([line[0] for line in lines] + [line[-1] + 1 for line in lines]) / image.shape[-1]


@pytest.mark.parametrize("crop", CROPS)
def test_boxes_are_where_a_training_view_shows_their_objects(crop):
    split = make_split(64, per_image=(1,))
    view = CropView(96, crop, (0.2, 1.0), True, 0)
    (batch,) = train_batches(split, view, 64, 0, range(1))
    seen = 0
    for image, (boxes, labels), index in zip(batch.images, batch.boxes, batch.indices):
        is_bright = (image > 0).any()
        assert len(boxes) == len(labels) and (len(boxes) or not is_bright)
        if is_bright and (boxes[:, 2:] > 0.05).all():  # less than a few pixels of an object are not bright for sure
            corners = torch.cat([boxes[0, :2] - boxes[0, 2:] / 2, boxes[0, :2] + boxes[0, 2:] / 2])
            assert (corners - find_bright(image)).abs().max() < 0.03, (crop, index)
            assert labels.tolist() == [split.boxes.labels[index]]
            seen += 1
    assert seen > 32 and batch.step_boxes == sum(len(boxes.labels) for boxes in batch.boxes)


def test_a_test_view_has_the_boxes_and_the_sizes_of_its_images():
    split = make_split()
    batches = [*data.test_batches(split, CenterCropView(32), 3)]
    assert [len(boxes.labels) for batch in batches for boxes in batch.boxes] == [1, 0, 2, 3]
    assert batches[1].sizes.tolist() == [[*SIZE]]
    boxes = torch.cat([boxes.boxes for batch in batches for boxes in batch.boxes]).double()
    high, wide = SIZE
    corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    assert torch.allclose(corners * torch.tensor([wide, high] * 2), torch.from_numpy(split.boxes.corners), atol=1e-4)


def test_crowds_are_not_trained_on():
    split = make_split()
    crowd = np.array([True, False, True, False, False, False])
    (batch,) = data.test_batches(replace(split, boxes=replace(split.boxes, crowd=crowd)), CenterCropView(32), 4)
    assert [boxes.labels.tolist() for boxes in batch.boxes] == [[], [], [1], [0, 1, 2]]


def test_every_rank_knows_how_many_boxes_a_step_has(monkeypatch):
    split, view = make_split(12), CropView(32, "random_resized", (0.05, 0.3), True, 0)
    (whole,) = train_batches(split, view, 10, 0, range(3, 4))
    parts = []
    monkeypatch.setattr("vitrun.runtime.distributed.world_size", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr("vitrun.runtime.distributed.rank", lambda: rank)  # noqa: B023
        parts += train_batches(split, view, 10, 0, range(3, 4))
    assert [part.step_boxes for part in parts] == [whole.step_boxes] * 2
    boxes = [boxes for part in parts for boxes in part.boxes]
    assert all(torch.equal(*pair) for pair in zip(*map(pad_boxes, (boxes, whole.boxes))))


def test_a_selection_and_new_classes_keep_boxes_with_their_images():
    split = make_split()
    chosen = relabel(split.select(np.array([1, 3])), ("cat", "dog", "ape", "bat"), np.array([2, 3, 0]))
    assert chosen.boxes.image_ids.tolist() == [17, 37]
    assert chosen.boxes.starts.tolist() == [0, 0, 3]
    assert chosen.boxes.labels.tolist() == [2, 3, 0]
    assert chosen.labels.tolist() == [[-1, -1, -1], [2, 3, 0]]
    assert chosen.boxes.category_ids.tolist() == [90, -1, 1, 4]
    assert not describe_unlabelled(chosen)


def test_a_fingerprint_covers_boxes():
    split = make_split()
    moved = replace(split, boxes=replace(split.boxes, corners=split.boxes.corners + 1e-9))
    assert replace(split).fingerprint == split.fingerprint != moved.fingerprint


def test_images_whose_size_their_boxes_contradict_are_bad():
    split = replace(make_split(), pixels=None, read_encoded=lambda index: np.zeros((*SIZE[::-1], 3), np.uint8))
    with pytest.raises(Exception, match=r"image 2 is 60 by 90 pixels.*90 by 60.*data\.exif"):
        split.decode(2)
