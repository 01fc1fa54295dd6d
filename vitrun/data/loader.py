"""Batches of views of images, decoded and resized by threads."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from vitrun.data.bad_images import raise_bad_image, read_or_next
from vitrun.data.batch import Batch
from vitrun.data.boxes import Boxes, BoxTable
from vitrun.data.captions import draw_captions, list_captions
from vitrun.data.sampler import rank_range, step_positions
from vitrun.data.split import DECODE_POOL, BadImage, Split
from vitrun.data.transforms.resize import Regions, join_images, to_floats
from vitrun.data.transforms.views import allocate_views
from vitrun.errors import UserError
from vitrun.runtime import distributed

VIEW_CHUNK_IN_MEMORY = 128  # images per call, in memory: enough to amortize its cost, few enough for the CPU's caches
VIEW_CHUNK = 16  # images per task of a thread: enough to amortize the cost of a call, few enough to use all threads


Pixels = Tensor | Sequence[Tensor]  # uint8 [B, 3, H, W], or B images [3, h, w]


class RandomView(Protocol):
    """The random views of training images, [B, 3, res, res]: float32 in [-1, 1], or uint8 before they are scaled."""

    @property
    def res(self) -> int:
        """Return the side of a view in pixels."""

    @property
    def levels(self) -> bool:
        """Return whether views whose values are integers are uint8."""

    def __call__(self, pixels: Pixels, epoch: int, indices: np.ndarray, out: Tensor | None = None) -> Tensor:
        """Return the views of B images, which depend on the epoch and the images' indices [B] only."""

    def regions(self, sides: np.ndarray, epoch: int, indices: np.ndarray) -> Regions:
        """Return the parts of images that become their views, by their height and width [B, 2]."""


class FixedView(Protocol):
    """The views of test images, [B, 3, res, res]: float32 in [-1, 1], or uint8 before they are scaled."""

    @property
    def res(self) -> int:
        """Return the side of a view in pixels."""

    @property
    def levels(self) -> bool:
        """Return whether views whose values are integers are uint8."""

    def __call__(self, pixels: Pixels, out: Tensor | None = None) -> Tensor:
        """Return the views of B images."""

    def regions(self, sides: np.ndarray) -> Regions:
        """Return the parts of images that become their views, by their height and width [B, 2]."""


def train_batches(
    split: Split,
    view: RandomView,
    batch: int,
    seed: int,
    steps: range,
    bad: Callable[[int, BadImage], None] = raise_bad_image,
) -> Iterator[Batch]:
    """Yield the batches of ``steps``; every epoch has all images in a new order.

    Step s has the positions from s * batch to (s + 1) * batch, counted over all epochs, so a run can resume from any
    step. Each rank reads a contiguous share of them; the view of an image does not depend on the ranks. ``bad`` is
    called for each image that cannot be read, and the next readable one replaces it.
    """
    for step in steps:
        positions = step_positions(step, batch, distributed.rank(), distributed.world_size())
        epochs, order = split.order.draw(seed, positions)
        images, indices = [], np.empty(len(positions), dtype=np.int64)
        captions = np.empty(len(positions), dtype=object)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            render = partial(render_views, view, epoch)
            views, indices[here] = load_views(split, order[here], view, render, bad)
            images.append(views)
            captions[here] = draw_captions(split, seed, epoch, indices[here])
        views = join_images(images)
        if (epochs[1:] < epochs[:-1]).any():  # passes over classes of different sizes
            views = views[torch.from_numpy(epochs.argsort(kind="stable").argsort())]
        texts = () if split.read_captions is None else tuple((text,) for text in captions)
        offset = int(positions[0]) - step * batch
        result = Batch(views, split.targets(indices), indices, captions=texts, offset=offset, keys=split.keys)
        if split.boxes is not None:
            boxes = of_step = see_boxes(split.boxes, view, epochs, order, indices)
            if len(order) < batch or not np.array_equal(indices, order):  # those of all ranks, of images as drawn
                epochs, order = split.order.draw(seed, step_positions(step, batch))
                of_step = see_boxes(split.boxes, view, epochs, order, order)
            number = sum(len(one.labels) for one in of_step)
            sizes = torch.from_numpy(split.boxes.sizes[indices])
            result = replace(result, boxes=boxes, step_boxes=number, table=split.boxes, sizes=sizes)
        yield result


def see_boxes(
    table: BoxTable, view: RandomView, epochs: np.ndarray, drawn: np.ndarray, read: np.ndarray
) -> tuple[Boxes, ...]:
    """Return the boxes in the views of the images ``read`` [B], which replace those ``drawn`` [B] in ``epochs`` [B]."""
    boxes: dict[int, Boxes] = {}
    for epoch in np.unique(epochs).tolist():
        rows = np.flatnonzero(epochs == epoch)
        regions = view.regions(table.sizes[read[rows]], epoch, drawn[rows])
        boxes |= zip(rows.tolist(), table.see(read[rows], regions, (view.res, view.res)))
    return tuple(boxes[row] for row in range(len(read)))


def test_batches(split: Split, view: FixedView, batch: int) -> Iterator[Batch]:
    """Yield every image of the split once, in order; the last batch may be smaller.

    Each rank yields a contiguous share of the images, in batches of about batch / world size; none if there are too
    few images for all ranks.
    """
    start, end = rank_range(len(split), distributed.rank(), distributed.world_size())
    batch = -(-batch // distributed.world_size())
    for first in range(start, end, batch):
        indices = np.arange(first, min(first + batch, end))
        images, _ = load_views(split, indices, view, lambda pixels, _, out: view(pixels, out), raise_bad_image)
        result = Batch(images, split.targets(indices), indices, captions=list_captions(split, indices), keys=split.keys)
        if split.boxes is not None:
            sizes = split.boxes.sizes[indices]
            boxes = split.boxes.see(indices, view.regions(sizes), (view.res, view.res))
            result = replace(result, boxes=tuple(boxes), table=split.boxes, sizes=torch.from_numpy(sizes))
        yield result


def readable_batches(
    split: Split, view: FixedView, batch: int, report: Callable[[int, UserError], None]
) -> Iterator[Batch]:
    """Yield every readable image of the split once, in order; call ``report`` for each of the others.

    The batches contain the ``sizes`` of the images.
    """
    for first in range(0, len(split), batch):
        indices = np.arange(first, min(first + batch, len(split)))
        images = allocate_views(len(indices), view.res, levels=False)
        sizes = torch.zeros(len(indices), 2, dtype=torch.int64)
        chunks = np.split(indices, range(VIEW_CHUNK, len(indices), VIEW_CHUNK))
        load, places = partial(load_readable, split, view), (images.split(VIEW_CHUNK), sizes.split(VIEW_CHUNK))
        errors = dict(chain.from_iterable(DECODE_POOL.map(load, chunks, *places)))
        for index, error in errors.items():
            report(index, error)
        readable = np.setdiff1d(indices, list(errors))
        if len(readable):
            captions, rows = list_captions(split, readable), readable - first
            targets = split.targets(readable)
            yield Batch(images[rows], targets, readable, captions=captions, keys=split.keys, sizes=sizes[rows])


def load_readable(
    split: Split, view: FixedView, indices: np.ndarray, images: Tensor, sizes: Tensor
) -> list[tuple[int, UserError]]:
    """Write the views of the images at ``indices`` [B] into ``images``, and their heights and widths into ``sizes``.

    Return the index and the error of each bad image.
    """
    pixels, rows, errors = [], [], []
    for row, index in enumerate(indices.tolist()):
        try:
            pixels.append(torch.from_numpy(split.decode(index)))
            rows.append(row)
        except UserError as error:
            errors.append((index, error))
    if rows:
        images[rows] = to_floats(view(pixels))
        sizes[rows] = torch.tensor([image.shape[1:] for image in pixels])
    return errors


def render_views(view: RandomView, epoch: int, pixels: Pixels, indices: np.ndarray, out: Tensor) -> Tensor:
    """Return the views of B images in an epoch."""
    return view(pixels, epoch, indices, out)


def load_views(
    split: Split,
    indices: np.ndarray,
    view: RandomView | FixedView,
    render: Callable[[Pixels, np.ndarray, Tensor], Tensor],
    bad: Callable[[int, BadImage], None],
) -> tuple[Tensor, np.ndarray]:
    """Return the views [B, 3, R, R] of the images at ``indices``, and the indices [B] of the images that were read.

    The latter differ from ``indices`` where images are bad. ``render(pixels, indices, out)`` computes the views of a
    chunk: in ``out``, unless that is uint8 and the views have values that are not integers.
    """
    images = allocate_views(len(indices), view.res, view.levels)
    indices_read = indices.copy()

    def load_chunk(chunk: slice) -> Tensor:
        if split.pixels is not None:
            pixels: Pixels = split.pixels.index_select(0, torch.from_numpy(indices[chunk]))
        else:
            indices_read[chunk], decoded = zip(*(read_or_next(split, index, bad) for index in indices[chunk].tolist()))
            pixels = [torch.from_numpy(image) for image in decoded]
        return render(pixels, indices[chunk], images[chunk])

    size, map_chunks = (VIEW_CHUNK, DECODE_POOL.map) if split.pixels is None else (VIEW_CHUNK_IN_MEMORY, map)
    chunks = list(map_chunks(load_chunk, [slice(first, first + size) for first in range(0, len(indices), size)]))
    is_whole = all(chunk.dtype == images.dtype for chunk in chunks)
    return images if is_whole else join_images(chunks), indices_read
