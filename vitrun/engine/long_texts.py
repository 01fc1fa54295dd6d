"""Count the texts that are cut, as they have more tokens than a text tower reads, for a line of the log."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from vitrun import models
from vitrun.data import Split
from vitrun.data.sources.messages import shorten, single_line

MOST_COUNTED = 100_000  # images whose captions are counted
MOST_READ = 10_000  # the same for shards, which may lie on a slow disk
MOST_CACHED = 2**17  # texts: captions of classes are the same for many images


def describe_cut_captions(tokenizer: models.Tokenizer, split: Split, part: str) -> str:
    """Return how many captions of a ``part`` are cut, and the first of them; "" if none is.

    Of more than 100,000 images, or 10,000 in shards, those of an evenly spread sample are counted.
    """
    most = MOST_COUNTED if split.shard_order is None else MOST_READ
    rows = range(0, len(split), -(-len(split) // most) or 1)
    images = f"the {part} part"
    if len(rows) < len(split):
        images = f"{len(rows):,} of the {len(split):,} {part} images"
    return describe_cut(tokenizer, list_captions(split, rows), f"captions of {images}")


def describe_cut_texts(tokenizer: models.Tokenizer, texts: Iterable[Sequence[str]]) -> str:
    """Return how many of the ``texts`` about each class are cut, and the first of them; "" if none is."""
    return describe_cut(tokenizer, (("", text) for of_class in texts for text in of_class), "texts about classes")


def list_captions(split: Split, rows: Iterable[int]) -> Iterator[tuple[str, str]]:
    """Yield each usable caption of the images in ``rows``, after the key of its image."""
    if split.read_captions is not None:
        for row in rows:
            if row not in split.unusable:
                yield from ((split.keys[row], caption) for caption in split.read_captions(row))


def describe_cut(tokenizer: models.Tokenizer, texts: Iterable[tuple[str, str]], what: str) -> str:
    """Return how many of ``texts``, each with the key of its image, have more tokens than the context; "" if none."""
    is_cut = lru_cache(MOST_CACHED)(tokenizer.is_cut)
    total, number, first = 0, 0, None
    for key, text in texts:
        total += 1
        if is_cut(text):
            number += 1
            first = first or (key, text)
    if first is None:
        return ""
    key, text = first
    verbs = ("has", "is") if number == 1 else ("have", "are")
    example = f"{shorten(single_line(text), 80)!r}{f' of {key}' * bool(key)}"
    return (
        f"{number:,} of {total:,} {what} {verbs[0]} more than {tokenizer.context} tokens and {verbs[1]} cut, the first "
        f"of {tokenizer.count(text):,}: {example}"
    )
