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
from vitrun.data.sources import messages
from vitrun.data.sources.hub.transfer import RETRY_WAITS, HubFile, download_files, has_same_size, http_status
from vitrun.data.sources.messages import first_line
from vitrun.data.sources.parquet import parse_split_name, source_split_name
from vitrun.errors import ExitCode, UserError, suggest
from vitrun.runtime.console import Screen
from vitrun.runtime.files import read_json, write_text_atomic

COMMIT_HASH = re.compile(r"[0-9a-f]{40}")
HUB_TIMEOUT = 10  # for an answer of the Hub


def download_split(data: recipes.Files, part: str, screen: Screen, tick: Callable[[], None]) -> recipes.Files:
    """The data set with the folder of a part's files as its ``path``: all of them there, and byte for byte the Hub's.

    A receipt beside the cached files says that they were compared; with it a start needs neither network nor hashing.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    split = source_split_name(data, part)
    with translate_hub_errors(data, split):
        check_pinned(data)
        cache = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=data.hub, repo_type="dataset")
        snapshot = cache / "snapshots" / data.revision
        receipt = cache / "vitrun" / (quote(f"{data.revision} {data.config or 'default'} {split}", safe=" ") + ".json")
        shards = [HubFile(**file) for file in (read_json(receipt) or {"files": []})["files"]]
        if not shards or not all(has_same_size(snapshot, shard) for shard in shards):
            shards = list_or_find_cached(data, split, snapshot)
            download_files(data, split, shards, snapshot, screen, tick)
            write_receipt(receipt, shards, screen)
    return replace(data, path=(snapshot / shards[0].path).parent)


def write_receipt(receipt: Path, shards: list[HubFile], screen: Screen) -> None:
    """Write down that the files were compared; a cache that takes no writing works too, but is compared each time."""
    try:
        receipt.parent.mkdir(exist_ok=True)
        write_text_atomic(receipt, json.dumps({"files": [asdict(shard) for shard in shards]}, indent=2))
    except OSError as error:
        screen.warn(f"{receipt} cannot be written ({error.strerror}): the next start will compare all files again.")


def check_pinned(data: recipes.Files) -> None:
    """A UserError that names the commit, where the revision is none: two runs could see other images."""
    from huggingface_hub import HfApi

    if not COMMIT_HASH.fullmatch(data.revision or ""):
        commit = HfApi().dataset_info(data.hub, revision=data.revision, timeout=HUB_TIMEOUT).sha
        raise UserError(
            f"{data.group}.revision={data.revision or 'null'} is no commit, so its images may change: "
            f"pin it with {data.group}.revision={commit}, which it is now.",
            ExitCode.DATA,
        )


def list_or_find_cached(data: recipes.Files, split: str, snapshot: Path) -> list[HubFile]:
    """The files of a split as the Hub lists them; where it cannot be asked those in the cache, if all are there."""
    from huggingface_hub.errors import HTTPError

    try:
        return list_split_files(data, split)
    except (OSError, HTTPError):
        # Another tool may have put them there. Their names tell how many there are, the cache's blobs their hashes.
        for place in candidate_folders(data):
            shards = list(find_cached_files(snapshot, place, split))
            if {parse_split_name(Path(shard.path))[1] for shard in shards} == {len(shards)}:
                return shards
        raise


def candidate_folders(data: recipes.Files) -> tuple[str, ...]:
    """Where a data set keeps the files of its configuration; those of the default one may lie at the top."""
    return ("data", "") if data.config in (None, "default") else (data.config,)


def list_split_files(data: recipes.Files, split: str) -> list[HubFile]:
    """The files of a split that the Hub lists; a UserError that says which configurations, splits or files there are."""
    splits: dict[str, list[HubFile]] = {}
    there: list[str] = []
    for place in candidate_folders(data):
        found = list_hub_folder(data, place)
        here = group_by_split(found)
        if split in here:
            return here[split]
        splits |= here
        there += [entry["path"] for entry in found if entry["path"] not in candidate_folders(data)]
    if splits:
        part = next(part for part in ("train", "test") if source_split_name(data, part) == split)
        raise UserError(
            f"{data.hub} has no split {split!r}. {suggest(split, splits)} Set {data.group}.{part}=NAME.",
            ExitCode.DATA,
            f"{data.group}.{part}",
        )
    others = [entry["path"] for entry in list_hub_folder(data, "") if entry["type"] == "directory"]
    config = data.config or "default"
    if config not in others and (others := [name for name in others if name not in candidate_folders(data)]):
        raise UserError(
            f"{data.hub} has no config {config!r}. {suggest(config, others)} Set {data.group}.config=NAME.",
            ExitCode.DATA,
            f"{data.group}.config",
        )
    where = " or ".join(place or "its top folder" for place in candidate_folders(data))
    raise UserError(
        f"{data.hub} has no parquet files of a split in {where}, but {messages.abbreviate(there)}: fetch what it has, and "
        f"give {data.group}.path=FOLDER",
        ExitCode.DATA,
    )


def group_by_split(found: list[dict]) -> dict[str, list[HubFile]]:
    """The parquet files of each split among the entries of a folder."""
    splits: dict[str, list[HubFile]] = {}
    for entry in found:
        split, _ = parse_split_name(Path(entry["path"]))
        if split and entry["path"].endswith(".parquet"):
            code = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
            splits.setdefault(split, []).append(HubFile(entry["path"], entry["size"], code))
    return splits


def list_hub_folder(data: recipes.Files, folder: str) -> list[dict]:
    """What is in a folder of the data set, as the Hub's API tells; nothing where there is no such folder."""
    from huggingface_hub import constants
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

    url = f"{constants.ENDPOINT}/api/datasets/{data.hub}/tree/{data.revision}/{quote(folder)}".rstrip("/")
    found: list[dict] = []
    try:
        while url:
            answer = http_backoff(
                "GET", url, headers=build_hf_headers(), timeout=HUB_TIMEOUT, max_retries=len(RETRY_WAITS)
            )
            hf_raise_for_status(answer)
            found += answer.json()
            url = answer.links.get("next", {}).get("url")
    except EntryNotFoundError:
        return []
    return found


def find_cached_files(snapshot: Path, folder: str, split: str) -> Iterator[HubFile]:
    """The files of a split in a folder of the cache, where each links to a blob whose name is its hash."""
    for file in sorted((snapshot / folder).glob("*.parquet")):
        if parse_split_name(file)[0] == split and file.is_symlink() and file.exists():
            yield HubFile(file.relative_to(snapshot).as_posix(), file.stat().st_size, file.readlink().name)


@contextmanager
def translate_hub_errors(data: recipes.Files, split: str) -> Iterator[None]:
    """Turn what the Hub's client raises into a UserError that says what to do."""
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except (OSError, ValueError, RuntimeError, HTTPError) as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        raise UserError(
            f"{data.group}={data.name}: {split} of {data.hub} cannot be had from the Hub: {explain_hub_error(data, error)}. "
            f"A local copy does instead: {data.group}.path=FOLDER",
            ExitCode.SPACE if full else ExitCode.DATA,
        ) from None


def explain_hub_error(data: recipes.Files, error: Exception) -> str:
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
    if http_status(error) == 401:
        return "the Hub refuses your token, log in anew with `hf auth login`"
    return first_line(error) + (", and the cache has not all of it" if isinstance(error, errors.HTTPError) else "")
