"""Location of the tar shards of a part: files on this machine, or URLs to download them from."""

import os
from collections.abc import Callable, Sequence
from glob import escape, has_magic
from pathlib import Path

from vitrun import recipes
from vitrun.data.sources.messages import abbreviate, typed_override
from vitrun.data.sources.shards import download, index
from vitrun.data.sources.shards.samples import Wanted
from vitrun.errors import ExitCode, UserError
from vitrun.recipes.shard_patterns import BRACE_RANGE
from vitrun.runtime.console import Screen
from vitrun.runtime.path_patterns import find_matches


def find_shards(
    data: recipes.Shards | recipes.Pairs, part: str, screen: Screen, tick: Callable[[], None]
) -> tuple[Path, list[str]]:
    """Return the folder of a part's shards and their names in it; download those that are missing.

    Raise UserError if there are none, or if one is missing.
    """
    root, shards, pattern = locate_shards(data, part)
    if recipes.is_url(pattern):
        shards = download.download_missing(shards, root, screen, tick)
    check_shards_exist(data, root, shards, pattern)
    return root, shards


def locate_shards(data: recipes.Shards | recipes.Pairs, part: str) -> tuple[Path, list[str], str]:
    """Return the folder of a part's shards, their names in it or their URLs, and the pattern that names them.

    Raise UserError if a training shard is a test shard too.
    """
    pattern = (data.train or "") if part == "train" else data.test
    shards = list_shards(data, pattern)
    if part == "train":
        test_paths = shard_paths(data, data.test, list_shards(data, data.test))
        if shared := shard_paths(data, pattern, shards) & test_paths:
            raise UserError(
                f"{typed_override(data)}: {min(shared)} is both a training and a test shard. Separate them with "
                f"{data.group}.train= and {data.group}.test=. URLs whose files have equal names need {data.group}.path "
                "unset: each is then downloaded into a folder of its own.",
                ExitCode.DATA,
            )
    return shard_folder(data, pattern), shards, pattern


def shard_folder(data: recipes.Shards | recipes.Pairs, pattern: str) -> Path:
    """Return the folder of the shards that a pattern names."""
    return data.path or download.download_folder(pattern)


def shard_paths(data: recipes.Shards | recipes.Pairs, pattern: str, shards: Sequence[str]) -> set[str]:
    """Return the paths of shards on this machine, to which missing ones are downloaded."""
    names = download.local_names(shards) if recipes.is_url(pattern) else shards
    return {os.path.realpath(shard_folder(data, pattern) / name) for name in names}


def pending_index(data: recipes.Shards | recipes.Pairs, part: str) -> str | None:
    """Return what opening a part starts with, a download or a scan of its shards; None if it is indexed already."""
    return None if has_index(data, part) else f"{data.path or getattr(data, part)}, as published: not indexed"


def has_index(data: recipes.Shards | recipes.Pairs, part: str) -> bool:
    """Return whether the shards of a part are indexed; raise UserError if a shard that has no URL is missing."""
    root, shards, pattern = locate_shards(data, part)
    if recipes.is_url(pattern):
        shards = download.local_names(shards)
        if not all((root / shard).exists() for shard in shards):
            return False
    check_shards_exist(data, root, shards, pattern)
    return index.index_folder(root, shards, name_wanted(data)).is_dir()


def name_wanted(data: recipes.Shards | recipes.Pairs) -> Wanted:
    """Return the members of samples that a data set reads."""
    if isinstance(data, recipes.Pairs):
        return Wanted("", data.image, data.caption)
    return Wanted(data.label, data.image)


def list_shards(data: recipes.Shards | recipes.Pairs, pattern: str) -> list[str]:
    """Return what a pattern names: URLs, or files below ``data.path``."""
    names = expand_ranges(pattern)
    if recipes.is_url(pattern) or not has_magic(pattern):
        return names
    root = f"{data.path or os.curdir}/"
    return [file.removeprefix(root) for name in names for file in find_matches(os.path.join(escape(root), name))]


def check_shards_exist(data: recipes.Shards | recipes.Pairs, root: Path, shards: Sequence[str], pattern: str) -> None:
    """Raise UserError if there are no shards, or one of them is missing."""
    missing = [shard for shard in shards if not (root / shard).is_file()]
    if shards and not missing:
        return
    present = sorted(str(file.relative_to(root)) for glob in ("*.tar", "*/*.tar") for file in root.glob(glob))
    what = f"{len(missing)} of the {len(shards)} shards, {missing[0]} first" if missing else f"all of {pattern}"
    raise UserError(
        f"{data.group}.path={root} lacks {what}; it has {abbreviate(present)}."
        f"{recipes.describe_origin(data.name, data.home)} Name the training and the test shards: "
        f"{data.group}.train=PATTERN {data.group}.test=PATTERN, as in a-{{000..127}}.tar or a-*.tar",
        ExitCode.DATA,
    )


def expand_ranges(pattern: str) -> list[str]:
    """Return all names that a pattern with ranges such as {000..127} stands for, in order."""
    match = BRACE_RANGE.search(pattern)
    if not match:
        return [pattern]
    first, last = int(match[1]), int(match[2])
    numbers = [str(n).zfill(len(match[1])) for n in range(first, last + 1)]
    return [pattern[: match.start()] + n + rest for n in numbers for rest in expand_ranges(pattern[match.end() :])]
