"""The sources of images: one row of ``SOURCES`` for each ``source`` of ``conf/data``.

docs/extending.md shows how to add one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vitrun import recipes
from vitrun.data.sources import drawn_boxes, local_files, synthetic, vtab
from vitrun.data.sources.captions.open import open_captions, pending_captions
from vitrun.data.sources.coco.open import open_coco
from vitrun.data.sources.facts import Facts, published_facts
from vitrun.data.sources.labelled.open import open_labelled
from vitrun.data.sources.shards import locate, pair_split, shard_split
from vitrun.data.sources.vtab.task_facts import suite_facts, task_facts
from vitrun.data.split import Split
from vitrun.errors import lookup
from vitrun.runtime.console import Screen
from vitrun.runtime.plugins import find_plugins, load_plugin

Tick = Callable[[], None]  # called repeatedly during long work; may raise to stop it


@dataclass(frozen=True)
class Source:
    """The functions of one kind of data set; each takes the data set's row of ``conf/data`` first.

    Whether a row lacks something that opening it needs, such as a path, is checked by ``explain_missing`` of its
    dataclass in ``recipes``, before torch is imported.
    """

    # Any stands for the row's dataclass, which differs between sources.
    open: Callable[[Any, str, Screen, Tick], Split]  # the ``train`` or ``test`` part
    facts: Callable[[Any], Facts]  # what is published about the data set
    pending_work: Callable[[Any, str], str | None] = lambda data, part: None  # the download or scan that `open` starts
    caches_training: bool = False  # whether decoded training images stay in memory, because they are few


SOURCES = {
    "shapes": Source(synthetic.open_shapes, synthetic.shapes_facts),
    "digits": Source(synthetic.open_digits, synthetic.digits_facts),
    "boxes": Source(drawn_boxes.open_boxes, drawn_boxes.boxes_facts),
    "files": Source(local_files.open_files, published_facts, local_files.pending_download),
    "table": Source(open_labelled, published_facts),
    "captions": Source(open_captions, published_facts, pending_captions),
    "coco": Source(open_coco, published_facts),
    "shards": Source(shard_split.open_shards, published_facts, locate.pending_index),
    "pairs": Source(pair_split.open_pairs, published_facts, locate.pending_index),
    "vtab": Source(vtab.open_vtab, task_facts, caches_training=True),
    "suite": Source(vtab.open_suite, suite_facts),
}


PLUGIN_GROUP = "vitrun.sources"  # the entry points by which an installed package adds to SOURCES


def find_source(data: recipes.Data) -> Source:
    """Return the source of a data set, of vitrun or of an installed package."""
    plugins = find_plugins(PLUGIN_GROUP)
    if data.source not in SOURCES and data.source in plugins:
        return load_plugin(plugins[data.source])
    return lookup(SOURCES, data.source, "source of images", f"{data.group}.source")


def open_source(data: recipes.Data, part: str, screen: Screen = Screen(quiet=True)) -> Split:
    """Return the ``train`` or ``test`` part of a data set as its source has it, without further checks."""
    return find_source(data).open(data, part, screen, lambda: None)
