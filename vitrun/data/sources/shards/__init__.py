"""Tar shards in WebDataset's layout: on disk, or on the net and then downloaded once."""

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

import numpy as np

from vitrun import recipes
from vitrun.data.sampler import Order
from vitrun.data.sources import local_files, messages
from vitrun.data.sources.shards import download, index
from vitrun.data.sources.shards.index import Index
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError

BRACE_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
INFO_FILE = "_info.json"  # what timm writes beside its shards: the number of images in each


@dataclass(frozen=True)
class ShardKeys(Sequence):
    """SHARD/NAME of every image, made when it is asked for."""

    shards: Sequence[str]
    index: Index

    def __len__(self) -> int:
        return len(self.index.ends)

    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        image = range(len(self))[at]
        return f"{self.shards[self.index.shard(image)]}/{self.index.name(image)}"


def open_shards(data: recipes.Shards, part: str, tick: Callable[[], None] = lambda: None) -> Split:
    """One part of a data set in shards; what is in them is read from an index, which the first time makes.

    Download and index call ``tick``, which may raise to stop them.
    """
    root, shards, pattern = locate_shards(data, part)
    if recipes.is_url(pattern):
        shards = download.download_missing(shards, root, tick)
    check_shards_exist(data, root, shards, pattern)
    found = index.open_index(root, shards, data.label, tick)
    keys = ShardKeys(shards, found)
    check_shard_lengths(root, shards, found)
    local_files.check_image_count(data, part, len(keys))
    check_label_range(data, keys)
    names = tuple(str(n) for n in range(data.classes))
    order = Order(found.starts, data.buffer)
    return Split(
        keys,
        found.labels,
        names,
        read_encoded=make_reader(root, keys),
        shard_order=order,
        index_fingerprint=found.fingerprint,
    )


def locate_shards(data: recipes.Shards, part: str) -> tuple[Path, list[str], str]:
    """The folder of a part's shards, their names there or addresses, and the pattern; whoever only tests names any."""
    pattern = data.train if part == "train" else data.test
    shards = list_shards(data, pattern)
    if part == "train" and (
        both := shard_paths(data, pattern, shards) & shard_paths(data, data.test, list_shards(data, data.test))
    ):
        raise UserError(
            f"{data.group}={data.name}: {min(both)} is a training and a test shard. Tell them apart: {data.group}.train=, "
            f"{data.group}.test=; addresses whose files have the same names have each a folder of their own without data.path",
            ExitCode.DATA,
        )
    return shard_folder(data, pattern), shards, pattern


def shard_folder(data: recipes.Shards, pattern: str) -> Path:
    """The folder of the shards that a pattern names."""
    return data.path or download.download_folder(pattern)


def shard_paths(data: recipes.Shards, pattern: str, shards: Sequence[str]) -> set[str]:
    """Where shards lie on this machine, or will when they are downloaded."""
    names = download.local_names(shards) if recipes.is_url(pattern) else shards
    return {os.path.realpath(shard_folder(data, pattern) / name) for name in names}


def has_index(data: recipes.Shards, part: str) -> bool:
    """Whether a part has its index; a UserError where a shard that should be on this machine is not."""
    root, shards, pattern = locate_shards(data, part)
    if recipes.is_url(pattern):
        shards = download.local_names(shards)
        if not all((root / shard).exists() for shard in shards):
            return False
    check_shards_exist(data, root, shards, pattern)
    return index.index_folder(root, shards, data.label).is_dir()


def list_shards(data: recipes.Shards, pattern: str) -> list[str]:
    """What a pattern names: addresses on the net, or files below ``data.path``."""
    names = expand_ranges(pattern)
    if recipes.is_url(pattern) or not has_magic(pattern):
        return names
    return [file for name in names for file in sorted(glob(name, root_dir=data.path, recursive=True))]


def check_shards_exist(data: recipes.Shards, root: Path, shards: Sequence[str], pattern: str) -> None:
    """A UserError where a shard is missing, or all of them are."""
    missing = [shard for shard in shards if not (root / shard).is_file()]
    if shards and not missing:
        return
    there = sorted(str(file.relative_to(root)) for place in ("*.tar", "*/*.tar") for file in root.glob(place))
    what = f"{len(missing)} of the {len(shards)} shards, {missing[0]} first" if missing else f"all of {pattern}"
    raise UserError(
        f"{data.group}.path={root} lacks {what}; it has {messages.abbreviate(there)}.{recipes.describe_origin(data.name, data.home)} "
        "Name the training and the test shards: "
        f"{data.group}.train=PATTERN {data.group}.test=PATTERN, as in a-{{000..127}}.tar or a-*.tar",
        ExitCode.DATA,
    )


def expand_ranges(pattern: str) -> list[str]:
    """All names that a pattern with ranges like {000..127} stands for, in order."""
    found = BRACE_RANGE.search(pattern)
    if not found:
        return [pattern]
    first, last = int(found[1]), int(found[2])
    numbers = [str(n).zfill(len(found[1])) for n in range(first, last + 1)]
    return [pattern[: found.start()] + n + rest for n in numbers for rest in expand_ranges(pattern[found.end() :])]


def make_reader(root: Path, keys: ShardKeys) -> Callable[[int], bytes]:
    """Reads the bytes of one image from its shard."""
    found = keys.index

    def encoded(image: int) -> bytes:
        shard, size = root / keys.shards[found.shard(image)], int(found.sizes[image])
        try:
            with open(shard, "rb", buffering=0) as file:
                file.seek(int(found.offsets[image]))
                return file.read(size)
        except OSError as error:
            raise UserError(f"The shard {shard} cannot be read: {error.strerror}.", ExitCode.DATA) from None

    return encoded


def check_shard_lengths(root: Path, shards: Sequence[str], found: Index) -> None:
    """A UserError where a shard has another number of images than the ``_info.json`` beside it says."""
    file = root / INFO_FILE
    if not file.is_file():
        return
    try:
        splits = json.loads(file.read_bytes())["splits"].values()
        said = {name: n for split in splits for name, n in zip(split["filenames"], split["shard_lengths"])}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} is not what timm writes there ({error!r}): repair or remove it.", ExitCode.DATA
        ) from None
    for shard, number in zip(shards, np.diff(found.starts).tolist()):
        if said.get(shard, number) != number:
            raise UserError(
                f"The shard {root / shard} has {number} images, but {INFO_FILE} says {said[shard]}: download it again.",
                ExitCode.DATA,
            )


def check_label_range(data: recipes.Shards, keys: ShardKeys) -> None:
    """A UserError that names an image whose class is beyond ``data.classes``."""
    labels = keys.index.labels
    if labels.max() >= data.classes:
        image = int(np.flatnonzero(labels.reshape(len(keys), -1).max(1) >= data.classes)[0])
        raise UserError(
            f"{data.group}={data.name} has {data.classes} classes, numbered from 0, but {keys[image]} has the class "
            f"{labels[image].max()}. Give their number: {data.group}.classes={labels.max() + 1}",
            ExitCode.DATA,
        )
