"""Batches: which images a step sees is arithmetic, and they are made while the step before is computed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from vitrun.data.order import positions
from vitrun.data.splits import Split

T = TypeVar("T")
AHEAD = 2  # batches made before they are asked for


@dataclass(frozen=True)
class Batch:
    """Images [B, 3, R, R] in [-1, 1], their labels [B] or [B, K] padded with -1, and their places in the split [B]."""

    images: Tensor
    labels: Tensor
    indices: np.ndarray


def training(split: Split, view: Callable, batch: int, seed: int, start: int, steps: int) -> Iterator[Batch]:
    """The batches of steps ``start`` to ``steps``: every epoch is a new order of all images, no image is left out.

    Step s sees positions s*batch to (s+1)*batch of the endless row of epochs, so a run continues from any step.
    """
    for step in range(start, steps):
        epochs, places = np.divmod(positions(step, batch), len(split))
        images, indices = [], np.empty(len(places), dtype=np.int64)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            chosen = split.order.indices(seed, epoch, places[here])
            indices[here] = chosen
            images.append(view(split.read(chosen), epoch, chosen))
        yield Batch(torch.cat(images), split.targets(indices), indices)


def testing(split: Split, view: Callable, batch: int) -> Iterator[Batch]:
    """Every image of the split once, in order; the last batch is as small as it has to be."""
    for first in range(0, len(split), batch):
        indices = np.arange(first, min(first + batch, len(split)))
        yield Batch(view(split.read(indices)), split.targets(indices), indices)


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, made by a thread of their own; an error there is raised here."""
    queue: Queue = Queue(AHEAD)
    done = Event()

    def fill() -> None:
        # One core is enough, and leaves the others to the model.
        torch.set_num_threads(1)
        try:
            for item in items:
                queue.put((item, None))
                if done.is_set():
                    return
            queue.put((None, StopIteration()))
        except BaseException as error:
            queue.put((None, error))

    Thread(target=fill, daemon=True, name="batches").start()
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
        while not queue.empty():
            queue.get_nowait()
