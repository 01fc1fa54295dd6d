"""Bad images in training: which image stands in for one, and how many may be."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from threading import Lock

import numpy as np

from vitrun.data.in_memory import DECODE_CHUNK, decode_to_memory
from vitrun.data.split import DECODE_POOL, BadImage, Split
from vitrun.errors import ExitCode, UserError
from vitrun.runtime import distributed
from vitrun.runtime.console import track_progress

MAX_NAMED = 10  # bad images that the last sentence of a run names


def raise_bad_image(index: int, mistake: BadImage) -> None:
    """What is done about a bad image where none may be."""
    raise mistake


def read_or_next(split: Split, index: int, bad: Callable[[int, BadImage], None]) -> tuple[int, np.ndarray]:
    """The image at ``index``, or where it is bad the next that is not, after the last the first; and its place.

    So the split alone decides which image is seen, and a resumed run sees the same. ``bad`` may raise to end the run.
    """
    for place in chain(range(index, len(split)), range(index)):
        try:
            return place, split.decode(place)
        except BadImage as mistake:
            bad(place, mistake)
            last = mistake
    raise last


class BadImageBudget:
    """Counts the bad images of a split, each once, and ends the run at more than a ``share`` of all."""

    def __init__(self, split: Split, share: float, report: Callable[[str, str], None], known: Iterable[str] = ()):
        self.split, self.share, self.report = split, share, report
        self.keys = set(known)  # those met before the run was resumed
        self.unsynced: list[tuple[str, str]] = []  # that the other ranks have not heard
        self.lock = Lock()

    def __call__(self, index: int, mistake: BadImage) -> None:
        """Count the image at ``index``."""
        self.count(self.split.keys[index], str(mistake))

    def sync(self) -> None:
        """Count what the other ranks met, too."""
        with self.lock:
            news, self.unsynced = self.unsynced, []
        for key, sentence in chain.from_iterable(distributed.all_gather_object(news)):
            self.count(key, sentence)

    def count(self, key: str, sentence: str) -> None:
        """Count and report of an image; a UserError where it is one too many."""
        with self.lock:
            if key not in self.keys:
                self.keys.add(key)
                self.unsynced.append((key, sentence))
                self.report(key, sentence)
            if len(self.keys) > self.share * len(self.split):
                more = f", first {', '.join(sorted(self.keys)[:MAX_NAMED])}" if len(self.keys) > 1 else ""
                raise UserError(
                    f"{len(self.keys)} of {len(self.split)} training images cannot be read{more}, which is more than "
                    f"bad_images={self.share:g} of them: {sentence}",
                    ExitCode.DATA,
                )

    def summary(self) -> dict[str, int | str]:
        """For the result: how many images were bad, and which."""
        names = {"bad_images_replaced": ", ".join(sorted(self.keys))} if self.keys else {}
        return {"bad_images": len(self.keys), **names}


def find_bad_images(split: Split) -> dict[int, BadImage]:
    """What is wrong with each bad image, by its place; every image is decoded to find them."""
    if split.pixels is not None:
        return {}

    def check(start: int) -> list[tuple[int, BadImage]]:
        found = []
        for row in range(start, min(start + DECODE_CHUNK, len(split))):
            try:
                split.decode(row)
            except BadImage as mistake:
                found.append((row, mistake))
        return found

    starts = range(0, len(split), DECODE_CHUNK)
    return dict(
        chain.from_iterable(
            track_progress(DECODE_POOL.map(check, starts), len(starts), f"times {DECODE_CHUNK} images checked")
        )
    )


def drop_bad_images(split: Split, report: Callable[[str], None]) -> Split:
    """The split without its bad images, each of which ``report`` is told."""
    bad = find_bad_images(split)
    if split.pixels is not None:
        return split
    if len(bad) == len(split):
        raise UserError(f"None of {len(bad)} images can be read: {bad[0]}", ExitCode.DATA)
    for mistake in bad.values():
        report(f"skipped: {mistake}")
    sound = split.select(np.setdiff1d(np.arange(len(split)), list(bad)))
    return decode_to_memory(replace(sound, skipped=len(bad), full_identity=split.identity))
