"""A split of images with captions in tar shards."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from vitrun import recipes
from vitrun.data.sampler import Order
from vitrun.data.sources.captions.listing import clean_captions, describe_captions
from vitrun.data.sources.messages import typed_override
from vitrun.data.sources.shards.captions import FAULTS, split_captions
from vitrun.data.sources.shards.shard_split import ShardKeys, make_reader, open_keys, read_range
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import Screen


def open_pairs(data: recipes.Pairs, part: str, screen: Screen, tick: Callable[[], None]) -> Split:
    """Return a part of a data set of images and captions in shards; download and index them the first time.

    Raise UserError if no image has a caption.
    """
    root, keys = open_keys(data, part, screen, tick)
    images = keys.index
    faults = images.labels[:, 3]
    unusable = {int(row): FAULTS[faults[row]] for row in np.flatnonzero(faults)}
    if len(unusable) == len(keys):
        most = Counter(unusable.values()).most_common(1)[0][0]
        raise UserError(
            f"{typed_override(data)}: no image has a caption that can be read, {keys[0]} first, which {most} Name "
            f"where captions are: {data.group}.caption=txt, another extension, or a field of the json.",
            ExitCode.DATA,
        )
    split = Split(
        keys,
        np.full(len(keys), -1),
        (),
        read_encoded=make_reader(root, keys),
        shard_order=Order(images.starts, data.buffer),
        index_fingerprint=images.fingerprint,
        read_captions=make_caption_reader(root, keys, data.caption),
        unusable=unusable,
    )
    return replace(split, notes=describe_captions(split))


def make_caption_reader(root: Path, keys: ShardKeys, caption: str) -> Callable[[int], tuple[str, ...]]:
    """Return a function that reads the captions of one image from its shard."""
    images = keys.index

    def read_captions(image: int) -> tuple[str, ...]:
        apart, size, _, fault, is_json = images.labels[image].tolist()
        if fault:
            return ()
        content = read_range(root / keys.shards[images.shard(image)], int(images.offsets[image]) + apart, size)
        return clean_captions(split_captions(content, caption if is_json else None))[0]

    return read_captions
