"""Training images without their labels: a source need not have any."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vitrun import recipes
from vitrun.data.sources.local_files import open_unlabelled_files
from vitrun.data.sources.registry import find_source
from vitrun.data.sources.shards.shard_split import open_shards
from vitrun.data.split import Split
from vitrun.recipes.data import set_group
from vitrun.runtime.console import Screen


def open_unlabelled_source(data: recipes.Data, screen: Screen, tick: Callable[[], None]) -> Split:
    """Return the training images of a data set as its source has them, with -1 for labels and without classes."""
    if isinstance(data, recipes.Files):
        split = open_unlabelled_files(data, screen, tick)
    elif isinstance(data, recipes.Shards):
        split = open_shards(drop_labels(data), "train", screen, tick)
    else:
        split = find_source(data).open(data, "train", screen, tick)
    labels = np.full(len(split), -1, np.int64)
    return replace(split, labels=labels, classes=(), accepted=None, imagenet_labels=None, balanced_order=None)


def drop_labels(data: recipes.Shards) -> recipes.Shards:
    """Return the data set of the same shards, without labels to read in them."""
    return set_group(replace(data, label="", classes=None), data.group)
