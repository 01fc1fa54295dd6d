"""The files of each split of a folder: parquet files in the Hub's layout, or a folder that ``save_to_disk`` wrote."""

import glob
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from vitrun import recipes
from vitrun.data.sources.messages import abbreviate
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import parse_json, read_small_text, walk_files

FILE_NAME = re.compile(r"(.+?)(?:-\d+-of-(\d+).*)?")  # the split, and its number of files
NUMBERED_NAME = re.compile(r"(train|training|test|val|valid|validation|dev)[-_.]?\d+", re.IGNORECASE)
SPARK_NAME = re.compile(r"part-\d+.*")  # as Spark and Dask write them into a folder for each split
TEST_NAMES = ("test", "validation", "val", "valid")  # of the split for testing, if it has none of the name wanted
INFO_FILE = "dataset_info.json"  # in each folder of the cache of `datasets`: its name, among others
STATE_FILE = "state.json"  # in each folder that Dataset.save_to_disk wrote: the names of its Arrow files


def find_splits(path: Path, config: str | None) -> dict[str, list[Path]]:
    """Return the parquet or Arrow files of each split below a folder, in natural order."""
    root = path / config if config and (path / config).is_dir() else path
    splits: dict[str, list[Path]] = {}
    for file in find_parquet_files(root):
        splits.setdefault(parse_split_name(file)[0], []).append(file)
    return splits or find_saved_splits(root)


def find_parquet_files(root: Path) -> list[Path]:
    """Return the parquet files below a folder, except those that ``vitrun eval`` wrote into runs."""
    files = sorted(
        (file for file in walk_files(root) if file.suffix == ".parquet"),
        key=lambda file: [split_numbers(part) for part in file.parts],
    )
    return [file for file in files if file.is_file() and not (file.parent / recipes.RECIPE_FILE).exists()]


def split_numbers(name: str) -> list[tuple[int, str]]:
    """Return a key for sorting in natural order: numbers by their value, other text as it is."""
    return [(int(part or 0) if part.isdigit() else -1, part) for part in re.split(r"([0-9]+)", name)]


def find_saved_splits(root: Path) -> dict[str, list[Path]]:
    """Return the Arrow files of each split of a folder that ``save_to_disk`` of ``datasets`` wrote."""
    if built := find_built_splits(root):
        return built
    folders = {folder.parent.name: folder.parent for folder in (*root.glob(STATE_FILE), *root.glob(f"*/{STATE_FILE}"))}
    return {name: list_saved_files(folder) for name, folder in sorted(folders.items())}


def find_built_splits(root: Path) -> dict[str, list[Path]]:
    """Return the Arrow files of each split in the cache of ``datasets``, ``NAME-SPLIT-00000-of-00002.arrow``."""
    splits: dict[str, list[Path]] = {}
    try:
        info = parse_json(read_small_text(root / INFO_FILE))
        name = str(info.get("dataset_name") or info["builder_name"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return splits
    for file in sorted(root.glob(f"{glob.escape(name)}-*.arrow")):
        match = FILE_NAME.fullmatch(file.stem.removeprefix(f"{name}-"))
        splits.setdefault(match[1] if match else file.stem, []).append(file)
    return splits


def list_saved_files(folder: Path) -> list[Path]:
    """Return the Arrow files of a split as ``state.json`` lists them; raise UserError if it is damaged."""
    state = folder / STATE_FILE
    try:
        return [folder / file["filename"] for file in parse_json(read_small_text(state))["_data_files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{state} is damaged ({error!r}): save the data set again.", ExitCode.DATA) from None


def parse_split_name(file: Path) -> tuple[str, int | None]:
    """Return the split of a parquet file and how many files the split has, from ``SPLIT-00000-of-00002`` or ``SPLIT``.

    In ``SPLIT/0000`` and ``SPLIT/part-00000-ID`` the folder names the split; its number of files is then None, as it
    is for ``train_0`` and the like.
    """
    if file.stem.isdigit() or SPARK_NAME.fullmatch(file.stem):
        return file.parent.name, None
    if numbered := NUMBERED_NAME.fullmatch(file.stem):
        return numbered[1], None
    match = FILE_NAME.fullmatch(file.stem)
    return (match[1], int(match[2] or 1)) if match else (file.stem, 1)


def choose_split(data: recipes.Files, part: str, splits: Mapping[str, Sequence[Path]]) -> str:
    """Return the name of a part's split; raise UserError if the folder lacks it or some of its files."""
    split = find_split_name(data, part, splits)
    if split is None:
        raise UserError(
            f"{data.group}.path={data.path} has no split {source_split_name(data, part)!r}, only "
            f"{abbreviate(sorted(splits))}. Name its {part} split: {data.group}.{part}=NAME.",
            ExitCode.DATA,
        )
    check_file_count(data, splits[split])
    return split


def find_split_name(data: recipes.Files, part: str, splits: Mapping[str, Sequence[Path]]) -> str | None:
    """Return the name of a part's split, of a usual name for testing if that is what it has; None if it lacks it."""
    split = source_split_name(data, part)
    names = (split, *TEST_NAMES) if part == "test" and split in TEST_NAMES else (split,)
    return next((name for name in names if name in splits), None)


def check_file_count(data: recipes.Files, files: Sequence[Path]) -> None:
    """Raise UserError if a split does not have as many files as their names say."""
    counts = {count for file in files if file.suffix == ".parquet" and (count := parse_split_name(file)[1])}
    if counts and counts != {len(files)}:
        raise UserError(
            f"{data.group}.path={data.path} has {len(files)} files such as {files[0].name}, but their names say "
            f"{' and '.join(map(str, sorted(counts)))}. Download what is missing, and move other versions elsewhere.",
            ExitCode.DATA,
        )


def source_split_name(data: recipes.Files, part: str) -> str:
    """Return the source's name of a part."""
    return (data.train or "") if part == "train" else data.test
