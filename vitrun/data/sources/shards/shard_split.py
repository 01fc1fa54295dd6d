"""A split whose images lie in tar shards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitrun import recipes
from vitrun.data.built_keys import BuiltKeys
from vitrun.data.sampler import Order
from vitrun.data.sources.local_files import check_image_count
from vitrun.data.sources.messages import abbreviate, count_classes, typed_override
from vitrun.data.sources.shards import index
from vitrun.data.sources.shards.index import Index
from vitrun.data.sources.shards.locate import find_shards, name_wanted
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import Screen
from vitrun.runtime.files import parse_json, read_small_text

INFO_FILE = "_info.json"  # timm writes it beside its shards: the number of images in each


@dataclass(frozen=True)
class ShardKeys(BuiltKeys):
    """SHARD/NAME of every image."""

    shards: Sequence[str]
    index: Index  # type: ignore[assignment]  # hides Sequence.index, which is not used

    def __len__(self) -> int:
        return len(self.index.ends)

    def build_key(self, row: int) -> str:
        """Return the name of the shard, and that of the image in it."""
        return f"{self.shards[self.index.shard(row)]}/{self.index.name(row)}"


def open_keys(
    data: recipes.Shards | recipes.Pairs, part: str, screen: Screen, tick: Callable[[], None]
) -> tuple[Path, ShardKeys]:
    """Return the folder of a part's shards and the keys of its images; download and index what is missing."""
    root, shards = find_shards(data, part, screen, tick)
    images = index.open_index(root, shards, name_wanted(data), tick)
    if images.passed_over.count:
        others = images.passed_over
        example = abbreviate([others.example])
        screen.log(f"data: files in the shards that are not read: {others.count:,}, such as {example}")
    keys = ShardKeys(shards, images)
    check_shard_lengths(root, shards, images)
    check_image_count(data, part, len(keys))
    return root, keys


def open_shards(data: recipes.Shards, part: str, screen: Screen, tick: Callable[[], None]) -> Split:
    """Return a part of a data set in shards; download those that are missing, and index them the first time.

    Download and indexing call ``tick``, which may raise to stop them.
    """
    root, keys = open_keys(data, part, screen, tick)
    images = keys.index
    if data.label:
        check_label_range(data, keys)
    return Split(
        keys,
        images.labels,
        tuple(str(n) for n in range(data.classes or 0)),
        read_encoded=make_reader(root, keys),
        shard_order=Order(images.starts, data.buffer),
        index_fingerprint=images.fingerprint,
    )


def make_reader(root: Path, keys: ShardKeys) -> Callable[[int], bytes]:
    """Return a function that reads the bytes of one image from its shard."""
    images = keys.index

    def read_encoded(image: int) -> bytes:
        return read_range(root / keys.shards[images.shard(image)], int(images.offsets[image]), int(images.sizes[image]))

    return read_encoded


def read_range(shard: Path, offset: int, size: int) -> bytes:
    """Return ``size`` bytes of a shard from ``offset`` on."""
    try:
        with open(shard, "rb", buffering=0) as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise UserError(f"The shard {shard} cannot be read: {error.strerror}.", ExitCode.DATA) from None


def check_shard_lengths(root: Path, shards: Sequence[str], images: Index) -> None:
    """Raise UserError if a shard has another number of images than the ``_info.json`` beside it says."""
    file = root / INFO_FILE
    if not file.is_file():
        return
    try:
        splits = parse_json(read_small_text(file))["splits"].values()
        lengths = {name: n for split in splits for name, n in zip(split["filenames"], split["shard_lengths"])}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} does not have the format of timm ({error!r}): repair or delete it.", ExitCode.DATA
        ) from None
    for shard, number in zip(shards, np.diff(images.starts).tolist()):
        if lengths.get(shard, number) != number:
            raise UserError(
                f"The shard {root / shard} has {number} images, but {INFO_FILE} says {lengths[shard]}: download it "
                "again.",
                ExitCode.DATA,
            )


def check_label_range(data: recipes.Shards, keys: ShardKeys) -> None:
    """Raise a UserError that names an image whose label is not below ``data.classes``."""
    labels = keys.index.labels
    if labels.max() >= data.classes:
        image = int(np.flatnonzero(labels.reshape(len(keys), -1).max(1) >= data.classes)[0])
        raise UserError(
            f"{typed_override(data)} has {count_classes(data.classes or 0)}, numbered from 0, but {keys[image]} has "
            f"the label {labels[image].max()}. Set the number of classes: {data.group}.classes={labels.max() + 1}",
            ExitCode.DATA,
        )
