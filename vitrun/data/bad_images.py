"""Bad images in training: which image stands in for one, and how many may be."""

from collections.abc import Callable, Iterable
from itertools import chain
from threading import Lock

import numpy as np

from vitrun.data.split import BadImage, Split
from vitrun.errors import Exit, Mistake
from vitrun.runtime import distributed

NAMED = 10  # bad images that the last sentence of a run names


def stop(index: int, mistake: BadImage) -> None:
    """What is done about a bad image where none may be."""
    raise mistake


def stand_in(split: Split, index: int, bad: Callable[[int, BadImage], None]) -> tuple[int, np.ndarray]:
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


class Budget:
    """Counts the bad images of a split, each once, and ends the run at more than a ``share`` of all."""

    def __init__(self, split: Split, share: float, tell: Callable[[str, str], None], known: Iterable[str] = ()):
        self.split, self.share, self.tell = split, share, tell
        self.keys = set(known)  # those met before the run was resumed
        self.news: list[tuple[str, str]] = []  # that the other ranks have not heard
        self.lock = Lock()

    def __call__(self, index: int, mistake: BadImage) -> None:
        """Count the image at ``index``."""
        self.count(self.split.keys[index], str(mistake))

    def meet(self) -> None:
        """Count what the other ranks met, too."""
        with self.lock:
            news, self.news = self.news, []
        for key, sentence in chain.from_iterable(distributed.each(news)):
            self.count(key, sentence)

    def count(self, key: str, sentence: str) -> None:
        """Count and tell of an image; a Mistake where it is one too many."""
        with self.lock:
            if key not in self.keys:
                self.keys.add(key)
                self.news.append((key, sentence))
                self.tell(key, sentence)
            if len(self.keys) > self.share * len(self.split):
                more = f", first {', '.join(sorted(self.keys)[:NAMED])}" if len(self.keys) > 1 else ""
                raise Mistake(
                    f"{len(self.keys)} of {len(self.split)} training images cannot be read{more}, which is more than "
                    f"bad_images={self.share:g} of them: {sentence}",
                    Exit.DATA,
                )

    def summary(self) -> dict[str, int | str]:
        """For the result: how many images were bad, and which."""
        names = {"bad_images_replaced": ", ".join(sorted(self.keys))} if self.keys else {}
        return {"bad_images": len(self.keys), **names}
