"""The order of images: a pure function of seed, epoch and position, so that a run resumes without saved state."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vitrun.runtime import random


@dataclass(frozen=True, eq=False)
class Order:
    """The order of an epoch: shards shuffled, their images in sequence, then shuffled inside windows of ``buffer``.

    Images that are not in shards are one shard and one window, so that all of them are shuffled every epoch.
    """

    starts: np.ndarray  # [S + 1] the first image of each shard, then the number of images
    buffer: int

    @property
    def windows(self) -> int:
        """Return the number of windows in an epoch."""
        return -(-int(self.starts[-1]) // self.buffer)

    def indices(self, seed: int, epoch: int, positions: np.ndarray) -> np.ndarray:
        """Return the images at ``positions`` of an epoch: [B] -> [B]."""
        numbers = positions // self.buffer
        images = np.empty(len(positions), dtype=np.int64)
        for number in np.unique(numbers):
            here = numbers == number
            images[here] = shuffle_window(self, seed, epoch, int(number))[positions[here] - number * self.buffer]
        return images


@lru_cache(maxsize=2)  # a batch may span two windows
def shuffle_window(order: Order, seed: int, epoch: int, number: int) -> np.ndarray:
    """Return the shuffled images of a window: [``order.buffer``], fewer in the last one."""
    first = number * order.buffer
    size = min(order.buffer, int(order.starts[-1]) - first)
    # Windows are numbered over all epochs: if an epoch is one window, its number is that of the epoch.
    positions = first + random.make_generator(seed, "order", epoch * order.windows + number).permutation(size)
    shards = random.make_generator(seed, "shards", epoch).permutation(len(order.starts) - 1)
    lengths = np.diff(order.starts)[shards]
    ends = np.cumsum(lengths)
    places = np.searchsorted(ends, positions, side="right")
    return order.starts[shards[places]] + positions - (ends - lengths)[places]


def step_positions(step: int, batch: int, rank: int = 0, world: int = 1) -> np.ndarray:
    """Return the positions, counted over all epochs, that a rank reads at a step: about batch / world of them."""
    first, end = rank_range(batch, rank, world)
    return np.arange(step * batch + first, step * batch + end)


def rank_range(number: int, rank: int, world: int) -> tuple[int, int]:
    """Return start and end of the part of ``number`` items that one of ``world`` ranks has: about number / world."""
    return rank * number // world, (rank + 1) * number // world
