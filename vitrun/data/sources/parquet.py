"""Images in files: parquet in the Hub's layout, and folders with a folder a class."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vitrun import recipes
from vitrun.data.labels import pad_labels
from vitrun.data.sources.messages import abbreviate, first_line
from vitrun.data.split import BadImage, Split
from vitrun.errors import ExitCode, UserError

REAL_COLUMN = "real_labels"  # the column of ReaL's lists, where a copy brings them
MAX_CLASSES = 2**20  # beyond that a column of labels holds something else, as times or identities
FILE_NAME = re.compile(
    r"(.+?)(?:-\d+-of-(\d+).*)?"
)  # of a parquet file's name: its split, and of how many files it is one


def open_parquet(data: recipes.Files, part: str) -> Split:
    """The part of a local copy in the Hub's layout, its Arrow tables memory-mapped by ``datasets``."""
    import datasets
    import pyarrow.parquet

    datasets.disable_progress_bars()
    split, shards = source_split_name(data, part), find_parquet_splits(data.path, data.config)
    if split not in shards:
        raise UserError(
            f"{data.group}.path={data.path} has no split {split!r}, but {abbreviate(sorted(shards))}. Name its {part} split: "
            f"{data.group}.{part}=NAME.",
            ExitCode.DATA,
        )
    check_file_count(data, shards[split])
    files = [str(file) for file in shards[split]]
    try:
        if not any(pyarrow.parquet.read_metadata(file).num_rows for file in files):  # which datasets cannot read
            raise UserError(f"{data.group}.path={data.path}: its split {split!r} has no images.", ExitCode.DATA)
        table = datasets.load_dataset("parquet", data_files={split: files}, split=split)
    except UserError:
        raise
    except Exception as error:
        why = first_line(error.__cause__ or error)
        raise UserError(
            f"{data.group}.path={data.path}: its parquet files cannot be read: {why}.", ExitCode.DATA
        ) from None
    return split_from_table(data, table)


def find_parquet_splits(path: Path, config: str | None) -> dict[str, list[Path]]:
    """The parquet files of each split below a folder."""
    root = path / config if config and (path / config).is_dir() else path
    found: dict[str, list[Path]] = {}
    for file in find_parquet_files(root):
        found.setdefault(parse_split_name(file)[0], []).append(file)
    return found


def parse_split_name(file: Path) -> tuple[str, int | None]:
    """The split that a parquet file is of, and of how many files: ``SPLIT-00000-of-00002``, or ``SPLIT`` alone.

    With ``SPLIT/0000`` the folder names the split, and nothing how many files it has.
    """
    if file.stem.isdigit():
        return file.parent.name, None
    split, number = FILE_NAME.fullmatch(file.stem).groups()
    return split, int(number or 1)


def find_parquet_files(root: Path) -> list[Path]:
    """The parquet files below a folder, without what ``vitrun eval`` writes into the runs there."""
    return [file for file in sorted(root.rglob("*.parquet")) if not (file.parent / recipes.RECIPE_FILE).exists()]


def check_file_count(data: recipes.Files, files: Sequence[Path]) -> None:
    """A UserError where the files of a split are not as many as their names say."""
    counts = {count for file in files if (count := parse_split_name(file)[1])}
    if counts and counts != {len(files)}:
        raise UserError(
            f"{data.group}.path={data.path} has {len(files)} files as {files[0].name}, whose names speak of "
            f"{' and '.join(map(str, sorted(counts)))}: fetch what is missing, and keep other versions elsewhere.",
            ExitCode.DATA,
        )


def split_from_table(data: recipes.Files, table: Any) -> Split:
    """A ``datasets.Dataset`` as a split; bytes are read when an image is."""
    import datasets
    import pyarrow.compute as compute

    check_columns(data, table.features)
    feature = table.features[data.label]
    labels = np.asarray(check_integer_labels(data, table.data.column(data.label)), dtype=np.int64)
    names = getattr(feature, "names", None) or number_classes(data, labels.max())
    if labels.max() >= len(names):
        raise UserError(
            f"{data.group}={data.name} has a label {labels.max()} among {len(names)} classes.", ExitCode.DATA
        )
    images = table.cast_column(data.image, datasets.Image(decode=False)).data.column(data.image)
    encoded, paths = compute.struct_field(images, "bytes"), compute.struct_field(images, "path")
    keys = [
        f"{row:08d}/{path or ''}" for row, path in enumerate(paths.to_pylist())
    ]  # a row number alone is surely unique
    lists = (
        table.data.column(REAL_COLUMN).to_pylist() if data.labels == "real" and REAL_COLUMN in table.features else None
    )

    def read_bytes(index: int) -> bytes:
        found = encoded[index].as_py()
        return found if found is not None else read_linked_image(data.path, keys[index], paths[index].as_py())

    sizes = compute.fill_null(compute.binary_length(encoded), -1).to_numpy().astype(np.int64)
    accepted = None if lists is None else pad_labels(lists)
    return Split(keys, labels, tuple(names), read_encoded=read_bytes, accepted=accepted, sizes=sizes)


def check_columns(data: recipes.Files, features: Any) -> None:
    """A UserError where the columns of images and labels are not there, or hold something else."""
    import datasets

    for option, column in (("image", data.image), ("label", data.label)):
        if column not in features:
            raise UserError(
                f"{data.group}={data.name}: no column {column!r} among {', '.join(features)}: add {data.group}.{option}=COLUMN.",
                ExitCode.DATA,
            )
    kind = features[data.image]
    if not isinstance(kind, datasets.Image | dict) and getattr(kind, "dtype", "") not in ("binary", "string"):
        raise UserError(
            f"{data.group}={data.name}: the column {data.image!r} holds no images, but {kind}: add {data.group}.image=COLUMN.",
            ExitCode.DATA,
        )


def check_integer_labels(data: recipes.Files, column: Any) -> Any:
    """The column of labels, an Arrow array; a UserError where they are no whole numbers."""
    import pyarrow

    if not pyarrow.types.is_integer(column.type) or column.null_count:
        what = f"{column.null_count} empty places" if column.null_count else str(column.type)
        raise UserError(
            f"{data.group}={data.name}: the column {data.label!r} should hold a whole number an image, but it holds {what}: "
            f"add {data.group}.label=COLUMN.",
            ExitCode.DATA,
        )
    return column


def number_classes(data: recipes.Files, last: int) -> list[str]:
    """Classes that have no names, up to the label ``last``; a UserError where that is none."""
    if last >= MAX_CLASSES:
        raise UserError(
            f"{data.group}={data.name}: the column {data.label!r} goes up to {last}, which is no class: add {data.group}.label=COLUMN.",
            ExitCode.DATA,
        )
    return [str(number) for number in range(last + 1)]


def read_linked_image(folder: Path, key: str, path: str | None) -> bytes:
    """The bytes of an image that its table only names, by a path from ``folder`` or a whole one.

    A BadImage where it does not even name it, a UserError where there is no such file.
    """
    if path is None:
        raise BadImage(f"{key} is no readable image: its place in the table is empty. Remove that row.", ExitCode.DATA)
    try:
        return (folder / path).read_bytes()
    except OSError as error:
        raise UserError(
            f"{key}: the table holds no bytes of this image, only a path: {error}.", ExitCode.DATA
        ) from None


def source_split_name(data: recipes.Files, part: str) -> str:
    """What the source calls a part."""
    return data.train if part == "train" else data.test
