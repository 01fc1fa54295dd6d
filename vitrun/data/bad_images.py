"""Images that cannot be decoded: replaced in training up to a share, found, dropped."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from threading import Lock

import numpy as np

from vitrun.data.in_memory import DECODE_CHUNK, decode_to_memory
from vitrun.data.split import DECODE_POOL, BadImage, Split
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import track_progress

MAX_NAMED = 10  # bad images that an error names


def raise_bad_image(index: int, error: BadImage) -> None:
    """Raise ``error``: the handler of bad images where none are allowed."""
    raise error


def read_or_next(split: Split, index: int, bad: Callable[[int, BadImage], None]) -> tuple[int, np.ndarray]:
    """Return ``index`` and its image or, if that is bad, those of the next readable image (cyclically).

    Which image that is depends on the split alone, so a resumed run reads the same. ``bad`` is called with the index
    and the error of each bad image, and may raise to end the run.
    """
    for row in chain(range(index, len(split)), range(index)):
        try:
            return row, split.decode(row)
        except BadImage as error:
            bad(row, error)
            last = error
    raise last


class BadImageBudget:
    """Count the bad images of a split, each once; raise UserError if they are more than a ``share`` of all.

    Args:
        report: Called with the key and the message of each bad image.
        known: Keys of the bad images that were found before the run was resumed.
    """

    def __init__(self, split: Split, share: float, report: Callable[[str, str], None], known: Iterable[str] = ()):
        self.split, self.share, self.report = split, share, report
        self.keys = set(known)
        self.new: list[tuple[str, str]] = []  # key and message of those that the other ranks do not know yet
        self.lock = Lock()

    def __call__(self, index: int, error: BadImage) -> None:
        """Count the image at ``index``."""
        self.count(self.split.keys[index], str(error))

    def pop_new(self) -> list[tuple[str, str]]:
        """Return the key and the message of each bad image that other ranks do not know yet."""
        with self.lock:
            new, self.new = self.new, []
        return new

    def count_all(self, images: Iterable[tuple[str, str]]) -> None:
        """Count the bad images that :meth:`pop_new` returned on another rank."""
        for key, message in images:
            self.count(key, message)

    def count(self, key: str, message: str) -> None:
        """Count and report a bad image; raise UserError if there are too many."""
        with self.lock:
            if key not in self.keys:
                self.keys.add(key)
                self.new.append((key, message))
                self.report(key, message)
            if len(self.keys) > self.share * len(self.split):
                names = f" ({', '.join(sorted(self.keys)[:MAX_NAMED])})" if len(self.keys) > 1 else ""
                raise UserError(
                    f"{len(self.keys)} of {len(self.split)} training images cannot be read{names}, more than the share "
                    f"bad_images={self.share:g} allows. {message}",
                    ExitCode.DATA,
                )

    def summary(self) -> dict[str, int | str]:
        """Return the entries of the result: the number of bad images, and their keys."""
        names = {"bad_images_replaced": ", ".join(sorted(self.keys))} if self.keys else {}
        return {"bad_images": len(self.keys), **names}


def find_bad_images(split: Split) -> dict[int, BadImage]:
    """Return the error of each bad image by its index; decode every image to find them."""
    if split.pixels is not None:
        return {}

    def check(start: int) -> list[tuple[int, BadImage]]:
        errors = []
        for row in range(start, min(start + DECODE_CHUNK, len(split))):
            try:
                split.decode(row)
            except BadImage as error:
                errors.append((row, error))
        return errors

    starts = range(0, len(split), DECODE_CHUNK)
    return dict(
        chain.from_iterable(
            track_progress(DECODE_POOL.map(check, starts), len(starts), f"x {DECODE_CHUNK} images checked")
        )
    )


def drop_bad_images(split: Split, report: Callable[[str], None]) -> Split:
    """Return the split without its bad images; call ``report`` with a line for each.

    Raise UserError if none can be read.
    """
    bad = find_bad_images(split)
    if split.pixels is not None:
        return split
    if len(bad) == len(split):
        raise UserError(f"None of {len(bad)} images can be read: {bad[0]}", ExitCode.DATA)
    for error in bad.values():
        report(f"skipped: {error}")
    readable = split.select(np.setdiff1d(np.arange(len(split)), list(bad)))
    return decode_to_memory(replace(readable, skipped=len(bad), full_identity=split.identity))
