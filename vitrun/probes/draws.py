"""Draws of a few training images a class: from labels alone, before an image is read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vitrun.errors import ExitCode, UserError

HELD_OUT_PER_CLASS = 25  # most images of a class that serve to choose one of several l2


@dataclass(frozen=True)
class Draw:
    """One draw: its seed, its images a class, their rows in the training part, and those that its l2 is chosen on."""

    seed: int
    shots: int
    rows: np.ndarray
    held_out: np.ndarray  # [0] if there is one l2


@dataclass(frozen=True)
class Draws:
    """The draws of all seeds and numbers of shots from a training part."""

    draws: tuple[Draw, ...]
    largest_class: int  # images of the class that has most to draw from

    @cached_property
    def rows(self) -> np.ndarray:
        """Return the rows of all images that any draw needs, each once, sorted: no other image has to be read."""
        return np.unique(np.concatenate([part for draw in self.draws for part in (draw.rows, draw.held_out)]))

    def locate(self, rows: np.ndarray) -> np.ndarray:
        """Return the positions of some images of the draws in :attr:`rows`."""
        return np.searchsorted(self.rows, rows)


def draw_images(
    labels: np.ndarray, order: np.ndarray, shots: Sequence[int], seeds: Sequence[int], l2s: Sequence[float]
) -> Draws:
    """Draw images of a training part with ``labels`` [N] from those at ``order`` for each seed and number of shots.

    If there are several ``l2s``, held out are the 25 images of each class (or as many as there are) that follow the
    largest number of shots in the seed's order: the same for all shots of a seed, and in none of its draws. Raise
    UserError (exit code 3) if there are none.
    """
    draws = []
    for seed in seeds:
        by_class = [order[positions] for positions in shuffle_by_class(labels[order], seed)]
        held_out = order[:0]
        if len(l2s) > 1:
            held_out = concatenate(rows[max(shots) :][:HELD_OUT_PER_CLASS] for rows in by_class)
            if len(held_out) == 0:
                values = ",".join(f"{l2:g}" for l2 in l2s)
                why = f"With {max(shots)} shots no training image is left to choose on: give one l2, or fewer shots."
                raise UserError(why, ExitCode.DATA, "l2", f"[{values}]")
        draws += [Draw(seed, number, concatenate(rows[:number] for rows in by_class), held_out) for number in shots]
    return Draws(tuple(draws), int(np.bincount(labels[order]).max()))


def shuffle_by_class(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    """Return each class's rows in random order. The first k are the k shots, so a seed's subsets are nested."""
    generator = np.random.default_rng(seed)
    return [generator.permutation(np.flatnonzero(labels == label)) for label in range(labels.max() + 1)]


def concatenate(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Return arrays of rows as one."""
    return np.concatenate(list(parts))


def bound_drawn(images: int, classes: int, shots: Sequence[int], seeds: Sequence[int], l2s: Sequence[float]) -> int:
    """Return the most images that :func:`draw_images` can draw from that many ``images`` of that many ``classes``."""
    a_class = max(shots) + (HELD_OUT_PER_CLASS if len(l2s) > 1 else 0)
    return min(images, len(seeds) * classes * a_class)
