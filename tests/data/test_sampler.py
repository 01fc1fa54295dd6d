"""The order of an epoch: every image once, shuffled in windows, and a function of the position."""

import numpy as np
import pytest

from vitrun import data
from vitrun.data.sampler import Order, rank_range, step_positions
from vitrun.errors import UserError
from vitrun.runtime import random


def test_images_in_shards_keep_their_order_when_some_are_excluded():
    split = data.Split(
        [f"{n}" for n in range(10)], np.arange(10), ("x",), read_encoded=lambda index: bytes([index]),
        shard_order=Order(np.array([0, 4, 10]), 3), index_fingerprint="x",
    )  # fmt: skip
    remaining = split.exclude({"1", "4", "9"})
    assert list(remaining.keys) == remaining.keys[0:7] == list("0235678") and remaining.read_encoded(2) == bytes([3])
    assert remaining.order.starts.tolist() == [0, 3, 7] and remaining.fingerprint != split.exclude({"1"}).fingerprint
    assert sorted(remaining.order.indices(0, 0, np.arange(7)).tolist()) == list(range(7))
    with pytest.raises(UserError, match="nothing to train on"):
        split.exclude(set(split.keys))


ORDER = Order(np.cumsum([0, 10, 7, 12, 1, 30]), 8)  # 60 images in windows of 8


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 7, 32])
def test_every_image_is_seen_once_an_epoch_by_exactly_one_rank(world, batch):
    images = []
    for step in range(-(-120 // batch)):
        places = [step_positions(step, batch, rank, world) for rank in range(world)]
        assert np.array_equal(np.concatenate(places), np.arange(step * batch, (step + 1) * batch))
        for epoch, place in (np.divmod(p, 60) for p in places):
            images += [(e, int(ORDER.indices(0, e, at[None])[0])) for e, at in zip(epoch.tolist(), place)]
    assert sorted(images[:120]) == [(epoch, image) for epoch in (0, 1) for image in range(60)]


def test_the_order_depends_only_on_position_seed_and_epoch():
    places = np.arange(60)
    expected = ORDER.indices(3, 2, places)
    assert np.array_equal(ORDER.indices(3, 2, places[23:41]), expected[23:41])
    assert np.array_equal(ORDER.indices(3, 2, places[::-1]), expected[::-1])
    for other in (ORDER.indices(4, 2, places), ORDER.indices(3, 1, places)):
        assert not np.array_equal(other, expected) and sorted(other) == sorted(expected)


def test_a_window_reads_only_consecutive_shards():
    order = Order(np.arange(0, 10_001, 100), 250)  # a hundred shards of a hundred images
    shards = order.indices(0, 5, np.arange(10_000)).reshape(-1, 250) // 100
    assert max(len(np.unique(window)) for window in shards) <= 4
    assert len({tuple(window) for window in np.sort(shards)}) == 40, "shards are in a new order"
    assert not (np.diff(order.indices(0, 5, np.arange(250))) > 0).all()


def test_a_set_without_shards_is_one_window():
    order = Order(np.array([0, 50]), 50)
    for epoch in (0, 7):
        expected = random.make_generator(2, "order", epoch).permutation(50)
        assert np.array_equal(order.indices(2, epoch, np.arange(50)), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("images", [1, 2, 50])
def test_the_shares_of_all_ranks_make_up_the_whole_batch(images, size):
    shares = [rank_range(images, rank, size) for rank in range(size)]
    assert [place for first, end in shares for place in range(first, end)] == list(range(images))
