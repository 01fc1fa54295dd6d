"""Pseudo-labels: unlabelled images with the answers of a teacher, which join the labelled images of a step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from vitrun.data.batch import Batch
from vitrun.data.built_keys import BuiltKeys
from vitrun.data.loader import RandomView, train_batches
from vitrun.data.mapped_rows import MappedRows
from vitrun.data.split import Split
from vitrun.data.transforms.resize import join_images

TOP = 8  # likeliest classes of an image whose probabilities are stored


@dataclass(frozen=True, eq=False)
class JoinedKeys(BuiltKeys):
    """The keys of labelled images, then those of unlabelled ones."""

    first: Sequence[str]
    second: Sequence[str]

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def build_key(self, row: int) -> str:
        """Return the key of a labelled image, or from the number of these on of an unlabelled one."""
        return self.first[row] if row < len(self.first) else self.second[row - len(self.first)]


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Unlabelled images, the answers of a teacher with C classes for all of them, and which are trained on."""

    split: Split  # N images
    rows: np.ndarray  # [M], sorted: the images to train on, some of them several times
    classes: MappedRows  # [N, K]: the likeliest classes of each image, as the teacher numbers them
    probabilities: MappedRows  # [N, K] float16: those of these classes
    positions: np.ndarray  # [C]: the number of each class of the teacher among the labelled images' classes

    def make_batches(self, view: RandomView, number: int, seed: int, steps: range) -> Iterator[Batch]:
        """Yield ``number`` images over all ranks for each of ``steps``, with the teacher's answers as targets.

        The label of an image is its likeliest class. Every epoch has all ``rows`` in a new order; an image that is
        there several times gets as many views.
        """
        split = replace(self.split, boxes=None, read_captions=None).select(self.rows)
        for batch in train_batches(split, view, number, seed, steps):
            rows = self.rows[batch.indices]
            classes = torch.from_numpy(self.positions[self.classes[rows]])
            shares = torch.from_numpy(self.probabilities[rows].astype(np.float32))
            yield replace(batch, labels=classes[:, 0], indices=rows, targets=(classes, shares), keys=self.split.keys)


def join_batches(labelled: Iterator[Batch], unlabelled: Iterator[Batch], images: int) -> Iterator[Batch]:
    """Yield the batch of each step: labelled images, then unlabelled ones with the targets of :class:`PseudoLabels`.

    The targets of labelled images are zeros. The index of an unlabelled image is ``images``, the number of labelled
    ones, plus its own.
    """
    for first, second in zip(labelled, unlabelled):
        blank = [target.new_zeros(len(first.labels), *target.shape[1:]) for target in second.targets]
        yield Batch(
            join_images([first.pixels, second.pixels]),
            torch.cat([first.labels, second.labels]),
            np.concatenate([first.indices, second.indices + images]),
            targets=tuple(map(torch.cat, zip(blank, second.targets))),
            offset=first.offset,
            keys=JoinedKeys(first.keys, second.keys),
        )


def select_images(classes: np.ndarray, confidences: np.ndarray, threshold: float, per_class: int | None) -> np.ndarray:
    """Return the images to train on, by their likeliest ``classes`` [N] and the teacher's ``confidences`` [N]: [M].

    Without ``per_class`` they are all with at least the ``threshold``, in order. With it they are as many of each class
    that has any: the most confident ones, of equal ones the first; where there are fewer they repeat in that order.
    (The published code repeats images at random; this draws nothing.) A confidence of 0 is that of an image to leave
    out.
    """
    limit = np.asarray(threshold, confidences.dtype)
    rows = np.flatnonzero((confidences >= limit) & (confidences > 0))
    if per_class is None:
        return rows
    rows = rows[np.argsort(-confidences[rows], kind="stable")]
    rows = rows[np.argsort(classes[rows], kind="stable")]
    _, starts = np.unique(classes[rows], return_index=True)
    return np.concatenate([np.resize(part, per_class) for part in np.split(rows, starts[1:])] if len(rows) else [rows])
