"""Batches: which images a step sees is arithmetic, and they are made while the step before is computed."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Full, Queue
from threading import Event, Thread, main_thread
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from vitrun.data.bad_images import raise_bad_image, read_or_next
from vitrun.data.sampler import rank_range, step_positions
from vitrun.data.split import DECODE_POOL, BadImage, Split
from vitrun.runtime import distributed

T = TypeVar("T")
PREFETCHED_BATCHES = 2  # batches made before they are asked for
POLL_SECONDS = 0.1  # seconds between two looks whether a batch is still wanted
VIEW_CHUNK_IN_MEMORY = 128  # images in memory viewed at a time: many, to share the calls, yet few enough for the caches
VIEW_CHUNK = 16  # images a thread reads and views at a time: enough to share the calls, few enough to busy all threads


@dataclass(frozen=True)
class Batch:
    """Images [B, 3, R, R] in [-1, 1], their labels [B] or [B, K] padded with -1, and their places in the split [B].

    What an objective needs besides has as many rows: ``inputs`` go to the network, ``targets`` to the loss.
    """

    images: Tensor
    labels: Tensor
    indices: np.ndarray
    inputs: tuple[Tensor, ...] = ()
    targets: tuple[Tensor, ...] = ()
    offset: int = 0  # the place of the first image in the batch of all ranks

    def micro_batch(self, rows: slice | np.ndarray, device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
        """What the network is given of the images at ``rows``, and what the loss is, on ``device``."""
        parts = ((self.images, *self.inputs), (self.labels, *self.targets))
        inputs, targets = ([tensor[rows].to(device, non_blocking=True) for tensor in part] for part in parts)
        return inputs, targets


def train_batches(
    split: Split,
    view: Callable,
    batch: int,
    seed: int,
    start: int,
    steps: int,
    bad: Callable[[int, BadImage], None] = raise_bad_image,
) -> Iterator[Batch]:
    """The batches of steps ``start`` to ``steps``: every epoch is a new order of all images, no image is left out.

    Step s sees positions s*batch to (s+1)*batch of the endless row of epochs, so a run continues from any step. Each
    rank reads its share of them, side by side; what an image looks like does not depend on the ranks.
    ``bad`` is told of each image that cannot be read, before the next of the split stands in for it.
    """
    for step in range(start, steps):
        seen = step_positions(step, batch, distributed.rank(), distributed.world_size())
        epochs, places = np.divmod(seen, len(split))
        images, indices = [], np.empty(len(places), dtype=np.int64)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            chosen = split.order.indices(seed, epoch, places[here])
            shown, indices[here] = load_views(split, view, chosen, epoch, bad)
            images.append(shown)
        shown = images[0] if len(images) == 1 else torch.cat(images)
        yield Batch(shown, split.targets(indices), indices, offset=int(seen[0]) - step * batch)


def test_batches(split: Split, view: Callable, batch: int) -> Iterator[Batch]:
    """Every image of the split once, in order; the last batch is as small as it has to be.

    Each rank has its share of the images, side by side, in batches as much smaller; none where there are too few.
    """
    start, end = rank_range(len(split), distributed.rank(), distributed.world_size())
    batch = -(-batch // distributed.world_size())
    for first in range(start, end, batch):
        indices = np.arange(first, min(first + batch, end))
        images, _ = load_views(split, view, indices, None, raise_bad_image)
        yield Batch(images, split.targets(indices), indices)


def load_views(
    split: Split, view: Callable, indices: np.ndarray, epoch: int | None, bad: Callable[[int, BadImage], None]
) -> tuple[Tensor, np.ndarray]:
    """What ``view`` shows of the images at ``indices``, [B, 3, R, R], and the places [B] that they were read from."""

    def drawn(part: np.ndarray) -> tuple:
        return () if epoch is None else (epoch, part)

    # NumPy asks for huge pages: else mapping the fresh memory of a batch takes as long as resizing its images.
    images = torch.from_numpy(np.empty((len(indices), 3, view.res, view.res), np.float32))
    places = indices.copy()

    def work(piece: slice) -> None:
        if split.pixels is not None:
            found = split.pixels.index_select(0, torch.from_numpy(indices[piece]))
        else:
            places[piece], pixels = zip(*(read_or_next(split, index, bad) for index in indices[piece].tolist()))
            found = [torch.from_numpy(image) for image in pixels]
        view(found, *drawn(indices[piece]), out=images[piece])

    size, spread = (VIEW_CHUNK, DECODE_POOL.map) if split.pixels is None else (VIEW_CHUNK_IN_MEMORY, map)
    list(spread(work, [slice(first, first + size) for first in range(0, len(indices), size)]))
    return images, places


def prefetch(items: Iterator[T], cores: int = 1) -> Iterator[T]:
    """The same items, made by a thread of their own that computes on ``cores``; an error there is raised here."""
    queue: Queue = Queue(PREFETCHED_BATCHES)
    done = Event()

    def offer(item: T | None, error: BaseException | None) -> bool:
        # Python waits for this thread at its end: a daemon would be cut off inside torch, which aborts the process.
        while main_thread().is_alive() and not done.is_set():
            with suppress(Full):
                queue.put((item, error), timeout=POLL_SECONDS)
                return True
        return False

    def fill() -> None:
        torch.set_num_threads(cores)
        try:
            if all(offer(item, None) for item in items):
                offer(None, StopIteration())
        except BaseException as error:
            offer(None, error)

    Thread(target=fill, name="batches").start()
    try:
        while True:
            item, error = queue.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        done.set()
