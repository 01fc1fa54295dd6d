"""Compute the next batches in a thread during a training step."""

from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event, Thread, main_thread
from typing import Any, TypeVar

import torch

from vitrun.runtime import stop

T = TypeVar("T")
PREFETCHED_BATCHES = 2  # batches computed in advance
POLL_SECONDS = 0.1  # seconds between checks whether a batch is still needed


def prefetch(items: Iterator[T], cores: int = 1) -> Iterator[T]:
    """Yield ``items``, computed in advance by a thread with that number of ``cores``; raise its errors here."""
    queue: Queue[tuple[Any, BaseException | None]] = Queue(PREFETCHED_BATCHES)
    done = Event()

    def offer(item: T | None, error: BaseException | None) -> bool:
        # Not a daemon thread: Python would cut it off inside torch at exit, which aborts the process.
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
            try:
                item, error = queue.get(timeout=POLL_SECONDS)
            except Empty:
                stop.raise_if_pending()
                continue
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        done.set()
