"""Boxes around the objects of images, in pixels of the images and relative to views of them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vitrun.data.transforms.resize import Regions


class Boxes(NamedTuple):
    """M objects in a view of an image."""

    boxes: Tensor  # float32 [M, 4]: center x, center y, width and height, relative to the view
    labels: Tensor  # int64 [M]


@dataclass(frozen=True)
class BoxTable:
    """Boxes of all N images of a split, T in all, ordered by image.

    An image may have none. A crowd is one box around many objects: it is not trained on, and detections in it count as
    neither right nor wrong.
    """

    starts: np.ndarray  # [N + 1] row of the first box of each image, then T
    corners: np.ndarray  # float64 [T, 4] left, top, right and bottom in pixels of the image
    labels: np.ndarray  # [T]
    crowd: np.ndarray  # [T] bool
    areas: np.ndarray  # float64 [T] of the objects, in pixels; in COCO those of the outlines
    sizes: np.ndarray  # [N, 2] height and width of each image
    image_ids: np.ndarray  # [N] ids of the images in a file of annotations or detections, integers or texts
    category_ids: np.ndarray  # [C] ids of the classes there

    def __len__(self) -> int:
        return len(self.sizes)

    def rows_of(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the boxes of ``images`` [B], and the position of each box's image in ``images``: [K]."""
        first, counts = self.starts[images], self.starts[images + 1] - self.starts[images]
        position = np.repeat(np.arange(len(images)), counts)
        return first[position] + np.arange(len(position)) - (np.cumsum(counts) - counts)[position], position

    def select(self, images: np.ndarray) -> "BoxTable":
        """Return the table of ``images`` alone, in their order."""
        rows, _ = self.rows_of(images)
        counts = self.starts[images + 1] - self.starts[images]
        return replace(
            self,
            starts=np.concatenate([[0], np.cumsum(counts)]),
            corners=self.corners[rows],
            labels=self.labels[rows],
            crowd=self.crowd[rows],
            areas=self.areas[rows],
            sizes=self.sizes[images],
            image_ids=self.image_ids[images],
        )

    def relabel(self, positions: np.ndarray, classes: int) -> "BoxTable":
        """Return the table with class ``positions[c]`` of ``classes`` in place of c; classes without one have id -1."""
        ids = np.full(classes, -1, np.int64)
        ids[positions] = self.category_ids
        return replace(self, labels=positions[self.labels], category_ids=ids)

    def facts(self) -> tuple[np.ndarray, ...]:
        """Return the arrays that the fingerprint of a split covers, as integers."""
        ids = self.image_ids
        if ids.dtype.kind == "U":
            ids = np.frombuffer(hashlib.sha256("\n".join(ids).encode()).digest(), "<i8")
        numbers = (self.starts, self.labels, self.crowd, self.sizes, ids, self.category_ids)
        return (*numbers, self.corners.view(np.int64), self.areas.view(np.int64))

    def image_labels(self) -> np.ndarray:
        """Return the classes of each image's boxes, crowds too, in order: [N, K] padded with -1, K at least 1."""
        image = np.repeat(np.arange(len(self)), np.diff(self.starts))
        pairs = np.unique(np.stack([image, self.labels]), axis=1)
        counts = np.bincount(pairs[0], minlength=len(self))
        result = np.full((len(self), max(1, counts.max(initial=0))), -1, np.int64)
        result[pairs[0], np.arange(pairs.shape[1]) - (np.cumsum(counts) - counts)[pairs[0]]] = pairs[1]
        return result

    def see(self, images: np.ndarray, regions: Regions, view: tuple[int, int]) -> list[Boxes]:
        """Return the boxes in views of ``images`` [B], without crowds; ``view`` is the height and width of the views.

        Boxes are clipped to the view, and left out if nothing remains, as in DETR's transforms.
        """
        rows, position = self.rows_of(images)
        top_left, sides = regions.boxes[:, 1::-1], regions.boxes[:, :1:-1]  # x, y and width, height: [B, 2]
        scale, shift = regions.frames[:, 1::-1] / sides, regions.frames[:, :1:-1]
        corners = self.corners[rows].reshape(-1, 2, 2)  # [K, corner, axis]
        corners = (corners - top_left[position, None]) * scale[position, None] - shift[position, None]
        corners = (corners / view[::-1]).clip(0, 1)
        flipped = regions.flips[position]
        corners[flipped, :, 0] = 1 - corners[flipped, ::-1, 0]
        size, center = corners[:, 1] - corners[:, 0], corners.mean(1)
        visible = (size > 0).all(1) & ~self.crowd[rows]
        boxes = torch.from_numpy(np.concatenate([center, size], 1)[visible]).float()
        counts = np.bincount(position[visible], minlength=len(images)).tolist()
        labels = torch.from_numpy(self.labels[rows][visible].astype(np.int64))
        return [*map(Boxes, boxes.split(counts), labels.split(counts))]


def pad_boxes(boxes: Sequence[Boxes]) -> tuple[Tensor, Tensor]:
    """Return the boxes of B images as [B, M, 4], padded with 0, and their labels as [B, M], padded with -1.

    M is the largest number of boxes of an image, at least 1.
    """
    most = max([1, *(len(one.labels) for one in boxes)])
    padded, labels = torch.zeros(len(boxes), most, 4), torch.full((len(boxes), most), -1)
    for row, one in enumerate(boxes):
        padded[row, : len(one.labels)], labels[row, : len(one.labels)] = one
    return padded, labels
