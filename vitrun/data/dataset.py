"""Data sets, opened through the table of sources."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from vitrun import recipes
from vitrun.data.class_names import describe_unlabelled
from vitrun.data.in_memory import cache_decoded, decode_to_memory
from vitrun.data.sources.messages import typed_option, typed_override
from vitrun.data.sources.registry import find_source
from vitrun.data.sources.unlabelled import open_unlabelled_source
from vitrun.data.split import PLACEHOLDER, KeySubset, Split
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import Screen


def open_split(
    data: recipes.Data, part: str, screen: Screen = Screen(quiet=True), tick: Callable[[], None] = lambda: None
) -> Split:
    """Return the ``train`` or ``test`` part of a data set; small sets of equally sized images are decoded into memory.

    Downloads show their progress on ``screen``. Long work (a download, the indexing of many shards) calls ``tick``
    repeatedly, which may raise to stop it. Raise UserError if the part cannot be read, is empty or has no labels.
    """
    source = find_source(data)
    with naming_option(data):
        split = source.open(data, part, screen, tick)
        if len(split) == 0:
            where = f" (from {split.location})" if split.location else ""
            raise UserError(f"{typed_override(data)}: its {part} part has no images{where}.", ExitCode.DATA)
        if unlabelled := describe_unlabelled(split):
            way_out = "remove them, or choose another split" if split.labels.max() >= 0 else "choose another split"
            raise UserError(f"{typed_override(data)}: its {part} part has {unlabelled}: {way_out}.", ExitCode.DATA)
        if split.pixels is None:
            split = decode_to_memory(decode_as_chosen(split, data))
        if split.pixels is None and part == "train" and source.caches_training:
            split = cache_decoded(split)
        return split


def open_unlabelled(
    data: recipes.Data, screen: Screen = Screen(quiet=True), tick: Callable[[], None] = lambda: None
) -> Split:
    """Return the training images of a data set as :func:`open_split` does, without labels (-1), which are not read.

    Raise UserError if the images cannot be read or there are none.
    """
    with naming_option(data):
        split = open_unlabelled_source(data, screen, tick)
        if len(split) == 0:
            raise UserError(f"{typed_override(data)}: its train part has no images.", ExitCode.DATA)
        return decode_to_memory(decode_as_chosen(split, data)) if split.pixels is None else split


def decode_as_chosen(split: Split, data: recipes.Data) -> Split:
    """Return the split whose JPEGs are decoded as ``data.jpeg`` says."""
    return replace(split, fast_jpeg=getattr(data, "jpeg", "") == "fast")


def make_placeholder_split(data: recipes.Data, part: str) -> Split | None:
    """Return a split with the published number of images and classes whose images cannot be read.

    A dry run computes with it, so that it downloads nothing and indexes no shards. Return None if the part can be
    opened without that work, or if the numbers are not known.
    """
    source = find_source(data)
    facts = source.facts(data)
    images = facts.count_images(part)
    if images is None or facts.classes is None or (location := source.pending_work(data, part)) is None:
        return None
    labels = np.zeros(images, np.int64)
    classes = tuple(map(str, range(facts.classes)))
    return Split(KeySubset([""], labels), labels, classes, location=location, index_fingerprint=PLACEHOLDER)


@contextmanager
def naming_option(data: recipes.Data) -> Iterator[None]:
    """Let an error of a source that names no option be one about the option that names the data set."""
    try:
        yield
    except UserError as error:
        error.option = error.option or typed_option(data)[0]
        raise
