"""Unlabelled images with the answers of a teacher: which are used, and how they join the labelled ones of a step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import torch

from vitrun.data.loader import Batch, RandomView, train_batches
from vitrun.data.mapped_rows import MappedRows
from vitrun.data.sampler import Order
from vitrun.data.split import KeySubset, Split

TOP = 8  # likeliest classes of an image whose probabilities are stored


@dataclass(frozen=True, eq=False)
class JoinedKeys(Sequence[str]):
    """The keys of labelled images, then those of unlabelled ones."""

    first: Sequence[str]
    second: Sequence[str]

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[row] for row in range(*at.indices(len(self)))]
        return self.first[at] if at < len(self.first) else self.second[at - len(self.first)]


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Images of a ``split`` at ``rows`` [M], some more than once, and the teacher's answers for each of the split.

    ``classes`` [N, K] are the likeliest classes of the teacher, whose numbers among the labelled images' classes are
    ``positions`` [C], and ``probabilities`` [N, K] float16 theirs.
    """

    split: Split
    rows: np.ndarray
    classes: MappedRows
    probabilities: MappedRows
    positions: np.ndarray

    def make_batches(self, view: RandomView, number: int, seed: int, steps: range) -> Iterator[Batch]:
        """Yield ``number`` images over all ranks for each of ``steps``, with their answers as targets.

        Their label is the likeliest class; each epoch has all ``rows`` in an order of its own.
        """
        for batch in train_batches(choose_rows(self.split, self.rows), view, number, seed, steps):
            rows = self.rows[batch.indices]
            classes = torch.from_numpy(self.positions[self.classes[rows]])
            shares = torch.from_numpy(self.probabilities[rows].astype(np.float32))
            yield replace(batch, labels=classes[:, 0], indices=rows, targets=(classes, shares), keys=self.split.keys)


def choose_rows(split: Split, rows: np.ndarray) -> Split:
    """Return the split of the images at ``rows`` [M], sorted, where an image may be there several times.

    An image that returns has another index, and so another view. Shards are read in their order.
    """
    pixels, encoded, shards = split.pixels, split.read_encoded, split.shard_order
    return Split(
        KeySubset(split.keys, rows),
        np.zeros(len(rows), np.int64),
        (),
        pixels=None if pixels is None else pixels[torch.from_numpy(rows)],
        read_encoded=None if encoded is None else lambda index: encoded(int(rows[index])),
        fast_jpeg=split.fast_jpeg,
        exif=split.exif,
        shard_order=None if shards is None else Order(np.searchsorted(rows, shards.starts), shards.buffer),
    )


def join_batches(labelled: Iterator[Batch], unlabelled: Iterator[Batch], images: int) -> Iterator[Batch]:
    """Yield the batch of each step: labelled images, then unlabelled ones with the targets of :class:`PseudoLabels`.

    The labelled ones have targets of zeros. Indices from ``images`` on are those of unlabelled images.
    """
    for first, second in zip(labelled, unlabelled):
        blank = [target.new_zeros(len(first.labels), *target.shape[1:]) for target in second.targets]
        yield Batch(
            torch.cat([first.images, second.images]),
            torch.cat([first.labels, second.labels]),
            np.concatenate([first.indices, second.indices + images]),
            targets=tuple(map(torch.cat, zip(blank, second.targets))),
            offset=first.offset,
            keys=JoinedKeys(first.keys, second.keys),
        )


def select_images(classes: np.ndarray, confidences: np.ndarray, threshold: float, per_class: int | None) -> np.ndarray:
    """Return the images to train on, by the answers [N] of a teacher and its confidence in them: [M].

    Those with at least the ``threshold`` are used, once each in their order; with ``per_class`` as many of each class
    that has any: the most confident first, of equal ones the first, and all of them again from the first where there
    are fewer. (NSC duplicates at random; this is the same for every run.) An image with confidence 0 could not be read.
    """
    limit = np.asarray(threshold, confidences.dtype)
    rows = np.flatnonzero((confidences >= limit) & (confidences > 0))
    if per_class is None:
        return rows
    rows = rows[np.argsort(-confidences[rows], kind="stable")]
    rows = rows[np.argsort(classes[rows], kind="stable")]
    _, starts = np.unique(classes[rows], return_index=True)
    return np.concatenate([np.resize(part, per_class) for part in np.split(rows, starts[1:])] if len(rows) else [rows])
