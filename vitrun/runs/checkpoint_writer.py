"""Saving of checkpoints in a thread, one at a time, so that training continues while a disk is slow."""

import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path
from typing import Any

from vitrun.runs import checkpoints
from vitrun.runtime.files import retry


@dataclass(frozen=True)
class Save:
    """A checkpoint to be saved."""

    step: int
    # puts its content into a folder and returns the BLAKE3 hash of files that it hashed meanwhile; called in a thread
    write: Callable[[Path], Mapping[str, str]]
    needed: int  # bytes on the disk, about
    facts: dict[str, Any]  # of its manifest
    final: bool = False  # the last one of the run: it replaces all others


class CheckpointWriter:
    """Saves checkpoints in ``folder``: the owner starts a save, and takes its outcome before it starts the next one."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.pending: tuple[Save, Future[float]] | None = None

    def start(self, save: Save) -> None:
        """Start to save a checkpoint."""
        assert self.pending is None, "a save is pending"
        pool = ThreadPoolExecutor(1, "checkpoint")
        self.pending = save, pool.submit(self.perform, save)
        pool.shutdown(wait=False)  # the thread ends with the save

    def take_outcome(self, wait: bool = True) -> tuple[Save, Future[float]] | None:
        """Return the save that was started last, and its duration or error; None if there is none, or none yet.

        It is returned once. Unless it is to ``wait``, return None while the save is in progress.
        """
        if self.pending is None or not (wait or self.pending[1].done()):
            return None
        save, future = self.pending
        future.exception()  # waits
        self.pending = None
        return save, future

    def perform(self, save: Save) -> float:
        """Save a checkpoint and return the seconds that it took; raise what its files raise after a few tries."""
        started = time.monotonic()
        retry(lambda: self.perform_once(save))
        return time.monotonic() - started

    def perform_once(self, save: Save) -> None:
        """Save a checkpoint; raise OSError if the disk has no room for it."""
        self.folder.mkdir(exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < save.needed:
            raise OSError(ENOSPC, f"it needs {save.needed / 1e6:,.1f} MB and the disk has {free / 1e6:,.1f} MB")
        saved = checkpoints.save(self.folder, save.step, save.write, save.facts)
        if save.final:
            checkpoints.keep_only(self.folder, saved)
