"""Images in parquet files in the Hub's layout."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vitrun import recipes
from vitrun.data.labels import pad_labels
from vitrun.data.sources.messages import abbreviate, first_line
from vitrun.data.split import BadImage, Split
from vitrun.errors import ExitCode, UserError

if TYPE_CHECKING:
    import datasets
    import pyarrow

REAL_COLUMN = "real_labels"  # the column of ReaL's lists, if a copy has it
MAX_CLASSES = 2**20  # a column with larger numbers holds something else, such as times or ids
FILE_NAME = re.compile(r"(.+?)(?:-\d+-of-(\d+).*)?")  # the split, and its number of files


def open_parquet(data: recipes.Files, part: str) -> Split:
    """Return a part of a folder in the Hub's layout; its Arrow tables are memory-mapped by ``datasets``.

    Raise UserError if the folder lacks the split or files of it, or if they cannot be read.
    """
    import datasets
    import pyarrow.parquet

    datasets.disable_progress_bars()
    split, splits = source_split_name(data, part), find_parquet_splits(data.folder, data.config)
    if split not in splits:
        raise UserError(
            f"{data.group}.path={data.path} has no split {split!r}, only {abbreviate(sorted(splits))}. Name its {part} "
            f"split: {data.group}.{part}=NAME.",
            ExitCode.DATA,
        )
    check_file_count(data, splits[split])
    files = [str(file) for file in splits[split]]
    try:
        if not any(pyarrow.parquet.read_metadata(file).num_rows for file in files):  # datasets fails on these
            raise UserError(f"{data.group}.path={data.path}: its split {split!r} has no images.", ExitCode.DATA)
        table = datasets.load_dataset("parquet", data_files={split: files}, split=split)
    except UserError:
        raise
    except Exception as error:
        why = first_line(error.__cause__ if isinstance(error.__cause__, Exception) else error)
        raise UserError(
            f"{data.group}.path={data.path}: its parquet files cannot be read: {why}.", ExitCode.DATA
        ) from None
    return split_from_table(data, table)


def find_parquet_splits(path: Path, config: str | None) -> dict[str, list[Path]]:
    """Return the parquet files of each split below a folder."""
    root = path / config if config and (path / config).is_dir() else path
    splits: dict[str, list[Path]] = {}
    for file in find_parquet_files(root):
        splits.setdefault(parse_split_name(file)[0], []).append(file)
    return splits


def parse_split_name(file: Path) -> tuple[str, int | None]:
    """Return the split of a parquet file and how many files the split has, from ``SPLIT-00000-of-00002`` or ``SPLIT``.

    In ``SPLIT/0000`` the folder names the split; its number of files is then None.
    """
    if file.stem.isdigit():
        return file.parent.name, None
    match = FILE_NAME.fullmatch(file.stem)
    return (match[1], int(match[2] or 1)) if match else (file.stem, 1)


def find_parquet_files(root: Path) -> list[Path]:
    """Return the parquet files below a folder, except those that ``vitrun eval`` wrote into runs."""
    return [file for file in sorted(root.rglob("*.parquet")) if not (file.parent / recipes.RECIPE_FILE).exists()]


def check_file_count(data: recipes.Files, files: Sequence[Path]) -> None:
    """Raise UserError if a split does not have as many files as their names say."""
    counts = {count for file in files if (count := parse_split_name(file)[1])}
    if counts and counts != {len(files)}:
        raise UserError(
            f"{data.group}.path={data.path} has {len(files)} files such as {files[0].name}, but their names say "
            f"{' and '.join(map(str, sorted(counts)))}. Download what is missing, and move other versions elsewhere.",
            ExitCode.DATA,
        )


def split_from_table(data: recipes.Files, table: "datasets.Dataset") -> Split:
    """Return a table as a split that reads the bytes of an image on access."""
    import datasets
    import pyarrow.compute as compute

    check_columns(data, table.features)
    feature = table.features[data.label]
    labels = np.asarray(check_integer_labels(data, table.data.column(data.label)), dtype=np.int64)
    classes = getattr(feature, "names", None) or number_classes(data, labels.max())
    if labels.max() >= len(classes):
        raise UserError(
            f"{data.group}={data.name} has the label {labels.max()}, but {len(classes)} classes.", ExitCode.DATA
        )
    images = table.cast_column(data.image, datasets.Image(decode=False)).data.column(data.image)
    encoded, paths = compute.struct_field(images, "bytes"), compute.struct_field(images, "path")
    keys = [f"{row:08d}/{path or ''}" for row, path in enumerate(paths.to_pylist())]  # paths may repeat, rows do not
    lists = (
        table.data.column(REAL_COLUMN).to_pylist() if data.labels == "real" and REAL_COLUMN in table.features else None
    )

    def read_bytes(index: int) -> bytes:
        image = encoded[index].as_py()
        return image if image is not None else read_linked_image(data.folder, keys[index], paths[index].as_py())

    sizes = compute.fill_null(compute.binary_length(encoded), -1).to_numpy().astype(np.int64)
    accepted = None if lists is None else pad_labels(lists)
    return Split(keys, labels, tuple(classes), read_encoded=read_bytes, accepted=accepted, sizes=sizes)


def check_columns(data: recipes.Files, features: "datasets.Features") -> None:
    """Raise UserError if the columns of images and labels are missing, or hold something else."""
    import datasets

    for option, column in (("image", data.image), ("label", data.label)):
        if column not in features:
            raise UserError(
                f"{data.group}={data.name} has no column {column!r}, only {', '.join(features)}: add "
                f"{data.group}.{option}=COLUMN.",
                ExitCode.DATA,
            )
    kind = features[data.image]
    if not isinstance(kind, datasets.Image | dict) and getattr(kind, "dtype", "") not in ("binary", "string"):
        raise UserError(
            f"{data.group}={data.name}: the column {data.image!r} holds {kind} instead of images: add "
            f"{data.group}.image=COLUMN.",
            ExitCode.DATA,
        )


def check_integer_labels(data: recipes.Files, column: "pyarrow.ChunkedArray") -> "pyarrow.ChunkedArray":
    """Return the column of labels; raise UserError if they are not all integers."""
    import pyarrow

    if not pyarrow.types.is_integer(column.type) or column.null_count:
        what = f"{column.null_count} empty rows" if column.null_count else str(column.type)
        raise UserError(
            f"{data.group}={data.name}: the column {data.label!r} must hold an integer per image, but has {what}: add "
            f"{data.group}.label=COLUMN.",
            ExitCode.DATA,
        )
    return column


def number_classes(data: recipes.Files, last: int) -> list[str]:
    """Return numbers as class names, up to the label ``last``; raise UserError if that cannot be a label."""
    if last >= MAX_CLASSES:
        raise UserError(
            f"{data.group}={data.name}: the column {data.label!r} goes up to {last}, too large for a label: add "
            f"{data.group}.label=COLUMN.",
            ExitCode.DATA,
        )
    return [str(number) for number in range(last + 1)]


def read_linked_image(folder: Path, key: str, path: str | None) -> bytes:
    """Return the bytes of an image that is stored outside its table, at ``path`` (relative to ``folder``, or absolute).

    Raise BadImage if the table has no path, UserError if there is no such file.
    """
    if path is None:
        raise BadImage(f"{key} is not a readable image: its row in the table is empty. Remove that row.", ExitCode.DATA)
    try:
        return (folder / path).read_bytes()
    except OSError as error:
        raise UserError(
            f"{key}: the table has only a path to this image, which cannot be read: {error}.", ExitCode.DATA
        ) from None


def source_split_name(data: recipes.Files, part: str) -> str:
    """Return the source's name of a part."""
    return (data.train or "") if part == "train" else data.test
