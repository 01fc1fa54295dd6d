"""The balanced order has every class equally often, as a function of the seed and the position alone."""

import numpy as np
import torch

from vitrun import data
from vitrun.data.transforms.views import CropView

LABELS = np.array([0] * 40 + [1] * 7 + [3] * 3)  # class 2 has no images


def make_split() -> data.Split:
    """Return a balanced split of skewed classes whose images are filled with their number."""
    pixels = torch.arange(50, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8).contiguous()
    return data.balance_classes(data.Split([str(n) for n in range(50)], LABELS, tuple("abcd"), pixels=pixels))


def test_every_class_comes_once_in_as_many_positions_as_there_are_classes():
    _, images = make_split().order.draw(7, np.arange(300))
    assert np.array_equal(np.sort(LABELS[images].reshape(-1, 3), 1), np.tile([0, 1, 3], (100, 1)))
    assert len({tuple(block) for block in LABELS[images].reshape(-1, 3)}) > 3, "in different orders"


def test_a_pass_over_a_class_has_each_of_its_images_once():
    passes, images = make_split().order.draw(7, np.arange(300))
    for label in (0, 1, 3):
        members, numbers = images[LABELS[images] == label], passes[LABELS[images] == label]
        size = (label == LABELS).sum()
        assert np.array_equal(numbers, np.arange(100) // size)
        for number in range(100 // size):
            assert np.array_equal(np.sort(members[numbers == number]), np.flatnonzero(label == LABELS))


def test_draws_depend_on_seed_and_position_alone():
    whole = make_split().order.draw(7, np.arange(300))
    order = make_split().order
    for places in (np.arange(200, 300), np.arange(0, 90, 3), np.arange(150, 210)):
        for part, all_of_it in zip(order.draw(7, places), whole):
            assert np.array_equal(part, all_of_it[places])
    assert not np.array_equal(order.draw(8, np.arange(300))[1], whole[1])


def test_batches_have_the_image_of_each_index_in_the_view_of_its_pass():
    split, view = make_split(), CropView(8, "none", (1.0, 1.0), False, 0)
    batches = list(data.train_batches(split, view, 16, 7, range(6)))
    for batch in batches:
        shown = ((batch.images[:, 0, 0, 0] + 1) * 127.5).round().long()
        assert shown.tolist() == batch.indices.tolist() and torch.equal(batch.labels, torch.from_numpy(LABELS)[shown])
    assert np.array_equal(np.concatenate([batch.indices for batch in batches]), split.order.draw(7, np.arange(96))[1])
    later = list(data.train_batches(make_split(), view, 16, 7, range(4, 6)))
    assert all(torch.equal(a.images, b.images) for a, b in zip(later, batches[4:]))
