"""One split of a data set on the Hub: downloaded at a pinned commit, its bytes verified."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import quote

from vitrun import recipes
from vitrun.data.sources.hub.hub_errors import report_waits, translate_hub_errors
from vitrun.data.sources.hub.listing import HUB_TIMEOUT, NoParquetFiles, list_or_find_cached
from vitrun.data.sources.hub.transfer import HubFile, download_files, has_same_size
from vitrun.data.sources.parquet.find import find_splits, source_split_name
from vitrun.data.sources.parquet.open import has_text_labels
from vitrun.data.sources.parquet.stored import prepare
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import Screen
from vitrun.runtime.files import read_json, write_text_atomic

COMMIT_HASH = re.compile(r"[0-9a-f]{40}")


def download_part(data: recipes.Files, part: str, screen: Screen, tick: Callable[[], None]) -> recipes.Files:
    """Return the data set with ``path`` set to a folder with a part's images in the cache.

    These are the Hub's parquet files or, if it has none, what the reader of ``datasets`` for its format has made. If
    labels are texts, both parts are downloaded, because both together give the classes.
    """
    try:
        snapshot = download_split(data, part, screen, tick)
    except NoParquetFiles as error:
        return replace(data, path=build_on_hub(data, screen, error))
    file = next(file for files in find_splits(snapshot.folder, None).values() for file in files)
    other = "test" if part == "train" else "train"
    if has_text_labels(data, file) and source_split_name(data, other):
        download_split(data, other, screen, tick)
    return snapshot


def build_on_hub(data: recipes.Files, screen: Screen, error: UserError) -> Path:
    """Return the folder of Arrow files that ``datasets`` makes of a data set; raise ``error`` if it cannot."""
    import datasets

    datasets.disable_progress_bars()
    try:
        builder = datasets.load_dataset_builder(data.repository, data.config, revision=data.revision)
    except Exception:  # whatever it raises: it knows no reader for these files either
        raise error from None
    size = (builder.info.download_size or 0) + (builder.info.dataset_size or 0)
    screen.log(f"data: {data.hub} has no parquet files: `datasets` makes a copy in {builder.cache_dir}")
    prepare(data, builder, "it has no parquet files on the Hub", size)
    return Path(builder.cache_dir)


def download_split(data: recipes.Files, part: str, screen: Screen, tick: Callable[[], None]) -> recipes.Files:
    """Return the data set with ``path`` set to a part's files in the cache, which are byte for byte the Hub's.

    A receipt next to the cached files records that they were verified; with it, opening the part again needs neither
    the network nor hashing. Raise UserError if the Hub does not have the split or cannot be reached.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    split = source_split_name(data, part)
    with translate_hub_errors(data, split), report_waits(screen.warn, f"{constants.ENDPOINT}/datasets/{data.hub}"):
        check_pinned(data)
        cache = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=data.repository, repo_type="dataset")
        snapshot = cache / "snapshots" / str(data.revision)
        receipt = cache / "vitrun" / (quote(f"{data.revision} {data.config or 'default'} {split}", safe=" ") + ".json")
        files = [HubFile(**file) for file in (read_json(receipt) or {"files": []})["files"]]
        if not files or not all(has_same_size(snapshot, file) for file in files):
            files = list_or_find_cached(data, split, snapshot)
            download_files(data, split, files, snapshot, screen, tick)
            write_receipt(receipt, files, screen)
    return replace(data, path=(snapshot / files[0].path).parent)


def write_receipt(receipt: Path, files: list[HubFile], screen: Screen) -> None:
    """Record that the files were verified; warn if the cache is read-only, where they are verified at each start."""
    try:
        receipt.parent.mkdir(exist_ok=True)
        write_text_atomic(receipt, json.dumps({"files": [asdict(file) for file in files]}, indent=2))
    except OSError as error:
        screen.warn(f"{receipt} cannot be written ({error.strerror}): the next start will verify all files again.")


def check_pinned(data: recipes.Files) -> None:
    """Raise a UserError that names the current commit if the revision is not one: its images could change."""
    from huggingface_hub import HfApi

    if not COMMIT_HASH.fullmatch(data.revision or ""):
        commit = HfApi().dataset_info(data.repository, revision=data.revision, timeout=HUB_TIMEOUT).sha
        raise UserError(
            f"{data.group}.revision={data.revision or 'null'} is not a commit, so its images may change. "
            f"Pin the current commit: {data.group}.revision={commit}",
            ExitCode.DATA,
        )
