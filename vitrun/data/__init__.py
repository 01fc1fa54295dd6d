"""The data sets: one table for all commands."""

from collections.abc import Callable

import numpy as np

from vitrun import recipes
from vitrun.data.bad_images import BadImageBudget, drop_bad_images, find_bad_images
from vitrun.data.in_memory import cache_decoded, decode_to_memory
from vitrun.data.loader import Batch, prefetch, test_batches, train_batches
from vitrun.data.sources import hub, registry, shards
from vitrun.data.sources.imagenet import CLASSES as IMAGENET_CLASSES
from vitrun.data.split import KeySubset, Split, hold_out
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import Screen

__all__ = [
    "IMAGENET_CLASSES",
    "Batch",
    "BadImageBudget",
    "Split",
    "prefetch",
    "make_placeholder_split",
    "find_bad_images",
    "hold_out",
    "open_split",
    "drop_bad_images",
    "test_batches",
    "train_batches",
]


def make_placeholder_split(data: recipes.Files | recipes.Shards, part: str) -> Split | None:
    """A split of as many images and classes as is published, none of which can be read; None if that is unknown.

    It is there to reckon with, so that a rehearsal downloads nothing, and indexes no shards. What lies on this machine
    already is opened instead.
    """
    images = data.train_images if part == "train" else data.test_images
    if images is None or data.classes is None:
        return None
    if isinstance(data, recipes.Shards):
        if shards.has_index(data, part):
            return None
        where = f"{data.path or getattr(data, part)}, as published: not indexed"
    elif data.path is not None:
        return None
    else:
        where = f"{data.hub}, as published: not downloaded"
    rows, classes = np.zeros(images, np.int64), tuple(map(str, range(data.classes)))
    return Split(KeySubset([""], rows), rows, classes, location=where, index_fingerprint="as published")


def open_split(
    data: recipes.Data, part: str, screen: Screen = Screen(quiet=True), tick: Callable[[], None] = lambda: None
) -> Split:
    """The ``train`` or ``test`` part of a data set, small sets of equal images decoded into memory.

    The training images of VTAB's tasks are a thousand: those of different sizes stay there once decoded.

    What takes long, a download or the index of many shards, calls ``tick`` all the time, which may raise to stop it; a
    download from the Hub shows on ``screen``.
    """
    if isinstance(data, recipes.Files) and data.path is None:
        data = hub.download_split(data, part, screen, tick)
    split = registry.open_source(data, part, tick)
    if len(split) == 0:
        where = f" (from {split.location})" if split.location else ""
        raise UserError(f"{data.group}={data.name}: its {part} part has no images{where}.", ExitCode.DATA)
    if split.labels.reshape(len(split), -1)[:, 0].min() < 0:
        raise UserError(
            f"{data.group}={data.name}: its {part} part has images without a label (-1): choose another split.",
            ExitCode.DATA,
        )
    if split.pixels is None:
        split = decode_to_memory(split)
    return cache_decoded(split) if data.source == "vtab" and part == "train" and split.pixels is None else split
