"""Images that cannot be decoded: replaced in training up to a share, found, dropped."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from threading import Lock

import numpy as np

from vitrun.data.in_memory import DECODE_CHUNK, decode_to_memory
from vitrun.data.sources.messages import abbreviate
from vitrun.data.split import DECODE_POOL, BadImage, Split
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import track_progress

MAX_NAMED = 3  # bad images that an error names
CHECK_SECONDS = 60  # the longest that decoding all training images before the first step may take
CHECK_SAMPLE = 64  # images from which that time is estimated
SAMPLE_CHUNK = 4  # of them per task of a thread


def raise_bad_image(index: int, error: UserError) -> None:
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
    """Count the bad images of a split, each once; raise UserError if they are more than ``limit``.

    Args:
        limit: The number of images that is allowed (int), or their share of all (float).
        report: Called with the key and the message of each bad image.
        known: Keys of the bad images that were found before the run was resumed.
    """

    def __init__(self, split: Split, limit: int | float, report: Callable[[str, str], None], known: Iterable[str] = ()):
        self.split, self.limit, self.report = split, limit, report
        self.keys = set(known)
        self.new: list[tuple[str, str]] = []  # key and message of those that the other ranks do not know yet
        self.lock = Lock()

    def __call__(self, index: int, error: BadImage) -> None:
        """Count the image at ``index``."""
        self.count_all([(self.split.keys[index], str(error))])

    def pop_new(self) -> list[tuple[str, str]]:
        """Return the key and the message of each bad image that other ranks do not know yet."""
        with self.lock:
            new, self.new = self.new, []
        return new

    def count_all(self, images: Iterable[tuple[str, str]]) -> None:
        """Count and report bad images, of another rank too; raise UserError if there are too many."""
        with self.lock:
            message = ""
            for key, message in images:
                if key not in self.keys:
                    self.keys.add(key)
                    self.new.append((key, message))
                    self.report(key, message)
            allowed = self.limit if isinstance(self.limit, int) else self.limit * len(self.split)
            if message and len(self.keys) > allowed:
                names = f" ({abbreviate(sorted(self.keys), MAX_NAMED)})" if len(self.keys) > 1 else ""
                share = "" if isinstance(self.limit, int) else "the share "
                raise UserError(
                    f"{len(self.keys)} of {len(self.split)} training images cannot be read{names}, more than {share}"
                    f"bad_images={self.limit:g} allows. {message}",
                    ExitCode.DATA,
                )

    def summary(self) -> dict[str, int | str]:
        """Return the entries of the result: the number of bad images, and their keys."""
        names = {"bad_images_replaced": ", ".join(sorted(self.keys))} if self.keys else {}
        return {"bad_images": len(self.keys), **names}


def find_bad_images(split: Split, rows: np.ndarray | None = None, chunk: int = DECODE_CHUNK) -> dict[int, BadImage]:
    """Return the error of each bad image by its index; decode the images at ``rows``, or all, to find them."""
    if split.pixels is not None or split.read_encoded is None:  # in memory, or not there
        return {}
    rows = np.arange(len(split)) if rows is None else rows

    def check(start: int) -> list[tuple[int, BadImage]]:
        errors = []
        for row in rows[start : start + chunk].tolist():
            try:
                split.decode(row)
            except BadImage as error:
                errors.append((row, error))
        return errors

    starts = range(0, len(rows), chunk)
    errors = track_progress(DECODE_POOL.map(check, starts), len(starts), f"x {chunk} images checked")
    return dict(chain.from_iterable(errors))


def check_before_training(split: Split, count: BadImageBudget) -> str:
    """Decode all images if that takes up to ``CHECK_SECONDS``, else a few; return what was done, for the log.

    ``count`` gets the bad ones, and raises if there are too many. Images in memory are not checked.
    """
    if split.pixels is not None or split.read_encoded is None:
        return ""
    start = time.monotonic()
    sample = np.unique(np.linspace(0, len(split) - 1, CHECK_SAMPLE).astype(np.int64))
    bad = find_bad_images(split, sample, SAMPLE_CHUNK)
    bad |= find_bad_images(split, np.array([*split.unusable], np.int64), SAMPLE_CHUNK)
    seconds = (time.monotonic() - start) * len(split) / len(sample)
    if complete := seconds <= CHECK_SECONDS:
        bad |= find_bad_images(split, np.setdiff1d(np.arange(len(split)), sample))
    count.count_all((split.keys[row], str(error)) for row, error in bad.items())
    if complete:
        return f"checked: all {len(split):,} training images can be read{f', but {len(bad)}' if bad else ''}"
    return (
        f"checked: {len(sample)} of {len(split):,} training images can be read; decoding all would take "
        f"{seconds / 60:.0f} minutes"
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
