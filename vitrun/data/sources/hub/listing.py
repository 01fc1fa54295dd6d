"""The files of a split: as the Hub lists them or, without a network, as its cache has them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vitrun import recipes
from vitrun.data.sources.hub.transfer import RETRY_WAITS, HubFile
from vitrun.data.sources.messages import abbreviate
from vitrun.data.sources.parquet.find import parse_split_name, source_split_name
from vitrun.errors import ExitCode, UserError, suggest

HUB_TIMEOUT = 10  # seconds
OID: dict[str, type] = {"oid": str}
FILE_KINDS: dict[str, type] = {"size": int, **OID}


class NoParquetFiles(UserError):
    """A data set on the Hub that has no parquet files, but others."""


def list_or_find_cached(data: recipes.Files, split: str, snapshot: Path) -> list[HubFile]:
    """Return the files of a split as the Hub lists them or, if it cannot be reached, those in a complete cache."""
    from huggingface_hub.errors import HTTPError

    try:
        return list_split_files(data, split)
    except (OSError, HTTPError):
        # Another tool may have downloaded them. Their names say how many there are, the cache's blobs their hashes.
        for folder in candidate_folders(data):
            files = list(find_cached_files(snapshot, folder, split))
            if {parse_split_name(Path(file.path))[1] for file in files} == {len(files)}:
                return files
        raise


def candidate_folders(data: recipes.Files) -> tuple[str, ...]:
    """Return the folders that may hold the files of a configuration; the default one may have them at the top."""
    return ("data", "") if data.config in (None, "default") else (data.config,)


def list_split_files(data: recipes.Files, split: str) -> list[HubFile]:
    """Return the files of a split that the Hub lists.

    Raise a UserError that names the splits, configurations or files that there are if it lists none.
    """
    splits: dict[str, list[HubFile]] = {}
    paths: list[str] = []
    for folder in candidate_folders(data):
        entries = list_hub_folder(data, folder)
        splits |= group_by_split(entries)
        if split in splits:
            return splits[split]
        paths += [entry["path"] for entry in entries if entry["path"] not in candidate_folders(data)]
    if splits:
        part = next(part for part in ("train", "test") if source_split_name(data, part) == split)
        raise UserError(
            f"{data.hub} has no split {split!r}. {suggest(split, splits)} Set {data.group}.{part}=NAME.",
            ExitCode.DATA,
            f"{data.group}.{part}",
        )
    configs = [entry["path"] for entry in list_hub_folder(data, "") if entry["type"] == "directory"]
    config = data.config or "default"
    if config not in configs and (configs := [name for name in configs if name not in candidate_folders(data)]):
        raise UserError(
            f"{data.hub} has no config {config!r}. {suggest(config, configs)} Set {data.group}.config=NAME.",
            ExitCode.DATA,
            f"{data.group}.config",
        )
    folders = " or ".join(folder or "its top folder" for folder in candidate_folders(data))
    kind = NoParquetFiles if any("." in Path(path).name[1:] for path in paths) else UserError
    raise kind(
        f"{data.hub} has no parquet files in {folders}, but {abbreviate(paths)}. Download it by hand and add "
        f"{data.group}.path=FOLDER",
        ExitCode.DATA,
    )


def group_by_split(entries: list[dict[str, Any]]) -> dict[str, list[HubFile]]:
    """Return the parquet files of each split among the entries of a folder."""
    splits: dict[str, list[HubFile]] = {}
    for entry in entries:
        split, _ = parse_split_name(Path(entry["path"]))
        if split and entry["path"].endswith(".parquet"):
            digest = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
            splits.setdefault(split, []).append(HubFile(entry["path"], entry["size"], digest))
    return splits


def list_hub_folder(data: recipes.Files, folder: str) -> list[dict[str, Any]]:
    """Return the entries of a folder of the data set from the Hub's API; an empty list if there is no such folder."""
    from huggingface_hub import constants
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

    url: str | None = f"{constants.ENDPOINT}/api/datasets/{data.hub}/tree/{data.revision}/{quote(folder)}".rstrip("/")
    entries: list[dict[str, Any]] = []
    try:
        while url:
            response = http_backoff(
                "GET", url, headers=build_hf_headers(), timeout=HUB_TIMEOUT, max_retries=len(RETRY_WAITS)
            )
            hf_raise_for_status(response)
            entries += read_entries(response, url)
            url = response.links.get("next", {}).get("url")
    except EntryNotFoundError:
        return []
    return entries


def read_entries(response: Any, url: str) -> list[dict[str, Any]]:
    """Return the entries of a folder in an answer; raise ValueError if it is something else, as the page of a proxy."""
    try:
        entries: list[dict[str, Any]] = response.json()
        if all(has_kinds(entry, {"path": str, "type": str}) for entry in entries):
            files = [entry for entry in entries if entry["type"] == "file"]
            if all(has_kinds(file, FILE_KINDS) and has_kinds(file.get("lfs", {"oid": ""}), OID) for file in files):
                return entries
    except (ValueError, TypeError, RecursionError):
        pass
    raise ValueError(f"{url} does not answer with a list of files, but with {response.text[:60]!r}")


def has_kinds(entry: object, kinds: dict[str, type]) -> bool:
    """Return whether an entry is an object with values of these types."""
    return isinstance(entry, dict) and all(isinstance(entry.get(key), kind) for key, kind in kinds.items())


def find_cached_files(snapshot: Path, folder: str, split: str) -> Iterator[HubFile]:
    """Yield the files of a split in a folder of the cache: links to blobs that are named by their hash."""
    for file in sorted((snapshot / folder).glob("*.parquet")):
        if parse_split_name(file)[0] == split and file.is_symlink() and file.exists():
            yield HubFile(file.relative_to(snapshot).as_posix(), file.stat().st_size, file.readlink().name)
