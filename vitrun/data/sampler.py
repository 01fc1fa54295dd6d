"""Which image stands where in an epoch: arithmetic, so that seed, epoch and position are enough to go on."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vitrun.runtime import random


@dataclass(frozen=True, eq=False)
class Order:
    """Shards in a new order every epoch, their images one after the other, shuffled inside windows of ``buffer``.

    Images that lie in no shards are one shard and one window: then all of them are in a new order every epoch.
    """

    starts: np.ndarray  # [S + 1] the first image of each shard, and behind them the number of images
    buffer: int

    @property
    def windows(self) -> int:
        """How many windows an epoch has."""
        return -(-int(self.starts[-1]) // self.buffer)

    def indices(self, seed: int, epoch: int, positions: np.ndarray) -> np.ndarray:
        """The images that stand at ``step_positions`` of an epoch: [B] -> [B]."""
        numbers = positions // self.buffer
        found = np.empty(len(positions), dtype=np.int64)
        for number in np.unique(numbers):
            here = numbers == number
            found[here] = shuffle_window(self, seed, epoch, int(number))[positions[here] - number * self.buffer]
        return found


@lru_cache(maxsize=2)  # a batch may see the end of one and the beginning of the next
def shuffle_window(order: Order, seed: int, epoch: int, number: int) -> np.ndarray:
    """The images of one window in their order: [``order.buffer``], fewer in the last."""
    first = number * order.buffer
    size = min(order.buffer, int(order.starts[-1]) - first)
    # The windows of all epochs are one endless row, so that an epoch of one window has the epoch's number.
    positions = first + random.make_generator(seed, "order", epoch * order.windows + number).permutation(size)
    shards = random.make_generator(seed, "shards", epoch).permutation(len(order.starts) - 1)
    lengths = np.diff(order.starts)[shards]
    ends = np.cumsum(lengths)
    places = np.searchsorted(ends, positions, side="right")
    return order.starts[shards[places]] + positions - (ends - lengths)[places]


def step_positions(step: int, batch: int, rank: int = 0, world: int = 1) -> np.ndarray:
    """The places in the endless row of epochs that one of ``world`` ranks sees at a step: about batch / world."""
    first, end = rank_range(batch, rank, world)
    return np.arange(step * batch + first, step * batch + end)


def rank_range(number: int, rank: int, world: int) -> tuple[int, int]:
    """The first and the end of what one of ``world`` ranks has of a row: about number / world."""
    return rank * number // world, (rank + 1) * number // world
