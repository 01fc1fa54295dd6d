"""Data sets on the Hub: the parquet files of one split at a pinned commit, in the cache of the Hub's own client."""

import errno
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import quote

from vitrun import recipes
from vitrun.data.sources import folders
from vitrun.data.sources.hub.download import WAITS, Shard, gather, same_size, status_of
from vitrun.data.sources.parquet import first_line, named, split_of
from vitrun.errors import Exit, Mistake, unknown
from vitrun.runtime.console import Screen
from vitrun.runtime.files import read_json, write_file

COMMIT = re.compile(r"[0-9a-f]{40}")
SECONDS = 10  # for an answer of the Hub


def local(data: recipes.Files, part: str, screen: Screen, tick: Callable[[], None]) -> recipes.Files:
    """The data set with the folder of a part's files as its ``path``: all of them there, and byte for byte the Hub's.

    A receipt beside the cached files says that they were compared; with it a start needs neither network nor hashing.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    split = named(data, part)
    with reported(data, split):
        check_pinned(data)
        cache = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=data.hub, repo_type="dataset")
        snapshot = cache / "snapshots" / data.revision
        receipt = cache / "vitrun" / (quote(f"{data.revision} {data.config or 'default'} {split}", safe=" ") + ".json")
        shards = [Shard(**file) for file in (read_json(receipt) or {"files": []})["files"]]
        if not shards or not all(same_size(snapshot, shard) for shard in shards):
            shards = listed_or_cached(data, split, snapshot)
            gather(data, split, shards, snapshot, screen, tick)
            sign(receipt, shards, screen)
    return replace(data, path=(snapshot / shards[0].path).parent)


def sign(receipt: Path, shards: list[Shard], screen: Screen) -> None:
    """Write down that the files were compared; a cache that takes no writing works too, but is compared each time."""
    try:
        receipt.parent.mkdir(exist_ok=True)
        write_file(receipt, json.dumps({"files": [asdict(shard) for shard in shards]}, indent=2))
    except OSError as error:
        screen.warn(f"{receipt} cannot be written ({error.strerror}): the next start will compare all files again.")


def check_pinned(data: recipes.Files) -> None:
    """A Mistake that names the commit, where the revision is none: two runs could see other images."""
    from huggingface_hub import HfApi

    if not COMMIT.fullmatch(data.revision or ""):
        commit = HfApi().dataset_info(data.hub, revision=data.revision, timeout=SECONDS).sha
        raise Mistake(
            f"data.revision={data.revision or 'null'} is no commit, so its images may change: "
            f"pin it with data.revision={commit}, which it is now.",
            Exit.DATA,
        )


def listed_or_cached(data: recipes.Files, split: str, snapshot: Path) -> list[Shard]:
    """The files of a split as the Hub lists them; where it cannot be asked those in the cache, if all are there."""
    from huggingface_hub.errors import HTTPError

    try:
        return listed(data, split)
    except (OSError, HTTPError):
        # Another tool may have put them there. Their names tell how many there are, the cache's blobs their hashes.
        for place in places(data):
            shards = list(cached(snapshot, place, split))
            if {split_of(Path(shard.path))[1] for shard in shards} == {len(shards)}:
                return shards
        raise


def places(data: recipes.Files) -> tuple[str, ...]:
    """Where a data set keeps the files of its configuration; those of the default one may lie at the top."""
    return ("data", "") if data.config in (None, "default") else (data.config,)


def listed(data: recipes.Files, split: str) -> list[Shard]:
    """The files of a split that the Hub lists; a Mistake that says which configurations, splits or files there are."""
    splits: dict[str, list[Shard]] = {}
    there: list[str] = []
    for place in places(data):
        found = entries(data, place)
        here = by_split(found)
        if split in here:
            return here[split]
        splits |= here
        there += [entry["path"] for entry in found if entry["path"] not in places(data)]
    if splits:
        part = next(part for part in ("train", "test") if named(data, part) == split)
        raise Mistake(f"{data.hub}: {unknown('split', split, splits)} Choose: data.{part}=NAME", Exit.DATA)
    others = [entry["path"] for entry in entries(data, "") if entry["type"] == "directory"]
    config = data.config or "default"
    if config not in others and (others := [name for name in others if name not in places(data)]):
        raise Mistake(f"{data.hub}: {unknown('config', config, others)} Choose: data.config=NAME", Exit.DATA)
    where = " or ".join(place or "its top folder" for place in places(data))
    raise Mistake(
        f"{data.hub} has no parquet files of a split in {where}, but {folders.listed(there)}: fetch what it has, and "
        "give data.path=FOLDER",
        Exit.DATA,
    )


def by_split(found: list[dict]) -> dict[str, list[Shard]]:
    """The parquet files of each split among the entries of a folder."""
    splits: dict[str, list[Shard]] = {}
    for entry in found:
        split, _ = split_of(Path(entry["path"]))
        if split and entry["path"].endswith(".parquet"):
            code = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
            splits.setdefault(split, []).append(Shard(entry["path"], entry["size"], code))
    return splits


def entries(data: recipes.Files, folder: str) -> list[dict]:
    """What is in a folder of the data set, as the Hub's API tells; nothing where there is no such folder."""
    from huggingface_hub import constants
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

    url = f"{constants.ENDPOINT}/api/datasets/{data.hub}/tree/{data.revision}/{quote(folder)}".rstrip("/")
    found: list[dict] = []
    try:
        while url:
            answer = http_backoff("GET", url, headers=build_hf_headers(), timeout=SECONDS, max_retries=len(WAITS))
            hf_raise_for_status(answer)
            found += answer.json()
            url = answer.links.get("next", {}).get("url")
    except EntryNotFoundError:
        return []
    return found


def cached(snapshot: Path, folder: str, split: str) -> Iterator[Shard]:
    """The files of a split in a folder of the cache, where each links to a blob whose name is its hash."""
    for file in sorted((snapshot / folder).glob("*.parquet")):
        if split_of(file)[0] == split and file.is_symlink() and file.exists():
            yield Shard(file.relative_to(snapshot).as_posix(), file.stat().st_size, file.readlink().name)


@contextmanager
def reported(data: recipes.Files, split: str) -> Iterator[None]:
    """Turn what the Hub's client raises into a Mistake that says what to do."""
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except (OSError, ValueError, RuntimeError, HTTPError) as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        raise Mistake(
            f"data={data.name}: {split} of {data.hub} cannot be had from the Hub: {reason(data, error)}. "
            "A local copy does instead: data.path=FOLDER",
            Exit.SPACE if full else Exit.DATA,
        ) from None


def reason(data: recipes.Files, error: Exception) -> str:
    """What an error of the Hub's client means, and the way out."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError):
        error = error.__cause__ or error
    page = f"{constants.ENDPOINT}/datasets/{data.hub}"
    if isinstance(error, errors.GatedRepoError):
        return f"it is gated, accept its terms on {page} and log in to that account with `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"it is not on {constants.ENDPOINT}/datasets, or it is private: log in with `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"it has no revision {data.revision}, those it has are on {page}/commits/main"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, and the cache has not all of it"
    if status_of(error) == 401:
        return "the Hub refuses your token, log in anew with `hf auth login`"
    return first_line(error) + (", and the cache has not all of it" if isinstance(error, errors.HTTPError) else "")
