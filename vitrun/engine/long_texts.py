"""Texts that have more tokens than a text tower reads: they are cut, which a line of the log says."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from vitrun import models
from vitrun.data import Split
from vitrun.data.sources.messages import shorten, single_line

MOST_COUNTED = 100_000  # images, evenly spread, whose captions are counted
MOST_READ = 10_000  # the same of shards, which may lie on a slow disk
MOST_CACHED = 2**17  # texts, as captions of classes return in every image


def describe_cut_captions(tokenizer: models.Tokenizer, split: Split, part: str) -> str:
    """Return how many captions of a ``part`` are cut, and the first of these; "" if none is.

    All are counted of up to 100,000 images, in shards of up to 10,000; of more those of as many, evenly spread.
    """
    most = MOST_COUNTED if split.shard_order is None else MOST_READ
    rows = range(0, len(split), -(-len(split) // most) or 1)
    some = f"{len(rows):,} of the {len(split):,} {part} images"
    which = f"the {part} part" if len(rows) == len(split) else some
    return describe_cut(tokenizer, list_captions(split, rows), f"captions of {which}")


def describe_cut_texts(tokenizer: models.Tokenizer, texts: Iterable[Sequence[str]]) -> str:
    """Return how many texts about classes are cut, and the first of these; "" if none is."""
    return describe_cut(tokenizer, (("", text) for own in texts for text in own), "texts about classes")


def list_captions(split: Split, rows: Iterable[int]) -> Iterator[tuple[str, str]]:
    """Yield the key of an image and a caption, for all usable captions of the images in ``rows``."""
    if split.read_captions is not None:
        for row in rows:
            if row not in split.unusable:
                yield from ((split.keys[row], caption) for caption in split.read_captions(row))


def describe_cut(tokenizer: models.Tokenizer, texts: Iterable[tuple[str, str]], what: str) -> str:
    """Return how many of ``texts``, each with the key of its image, have more tokens than the context; "" if none."""
    is_cut = lru_cache(MOST_CACHED)(tokenizer.is_cut)
    total, number, key, first = 0, 0, "", ""
    for image, text in texts:
        total += 1
        if is_cut(text):
            key, first = (key, first) if number else (image, text)
            number += 1
    if not number:
        return ""
    verbs = ("has", "is") if number == 1 else ("have", "are")
    example = f"{shorten(single_line(first), 80)!r}{f' of {key}' * bool(key)}"
    return (
        f"{number:,} of {total:,} {what} {verbs[0]} more than {tokenizer.context} tokens and {verbs[1]} cut, the first "
        f"of {tokenizer.count(first):,}: {example}"
    )
