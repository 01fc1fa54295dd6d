"""The order of images: a pure function of seed, epoch and position, so that a run resumes without saved state."""

from dataclasses import dataclass, field
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

    def draw(self, seed: int, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the epochs and the images at ``positions``, counted over all epochs: [B] -> two of [B]."""
        epochs, within = np.divmod(positions, int(self.starts[-1]))
        images = np.empty(len(positions), dtype=np.int64)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            images[here] = self.indices(seed, epoch, within[here])
        return epochs, images


@dataclass(frozen=True, eq=False)
class BalancedOrder:
    """Every class equally often: C positions in turn, counted from 0, have one image of each of the C classes.

    The order of the classes is drawn for each C positions. The k-th image of a class of n images is the one at k mod n
    of its pass k // n, which has all n images in an order of its own. An image's view depends on the pass, not on the
    epoch, so that an image that returns within an epoch looks different.
    """

    members: tuple[np.ndarray, ...]  # the images of each class
    shuffled: dict[int, tuple[int, int, np.ndarray]] = field(default_factory=dict)  # seed, pass and order, by class

    def draw(self, seed: int, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the passes and the images at ``positions``, counted over all epochs: [B] -> two of [B]."""
        number = len(self.members)
        visits, places = np.divmod(positions, number)
        unique, inverse = np.unique(visits, return_inverse=True)
        classes = random.uniform(seed, "classes", 0, unique, number).argsort(1)[inverse, places]
        passes, ranks = np.divmod(visits, np.array([len(rows) for rows in self.members])[classes])
        images = np.empty(len(positions), dtype=np.int64)
        for row in range(len(positions)):
            images[row] = self.shuffle(seed, int(classes[row]), int(passes[row]))[ranks[row]]
        return passes, images

    def shuffle(self, seed: int, label: int, number: int) -> np.ndarray:
        """Return the images of a class in the order of a pass over them."""
        last = self.shuffled.get(label)
        if last is None or last[:2] != (seed, number):
            order = random.make_generator(seed, "class", label, number).permutation(self.members[label])
            last = self.shuffled[label] = (seed, number, order)
        return last[2]


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
