"""Images in files: parquet in the Hub's layout, and folders with a folder a class."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vitrun import recipes
from vitrun.data.labels import LABELS, padded
from vitrun.data.sources import folders
from vitrun.data.sources.folders import listed
from vitrun.data.split import BadImage, Split
from vitrun.errors import Exit, Mistake

REAL = "real_labels"  # the column of ReaL's lists, where a copy brings them
MOST_CLASSES = 2**20  # beyond that a column of labels holds something else, as times or identities
SHARD = re.compile(r"(.+?)(?:-\d+-of-(\d+).*)?")  # of a parquet file's name: its split, and of how many files it is one


def read(data: recipes.Files, part: str) -> Split:
    """One part of a data set with its labels as ``data.labels`` says; a Mistake where it is not as published."""
    try:
        split = LABELS[data.labels](data, source(data, part))
        check_size(data, part, len(split))
        if data.classes is not None and len(split.classes) != data.classes:
            raise Mistake(
                f"data={data.name} has {data.classes:,} classes, but its source has {len(split.classes):,}.", Exit.DATA
            )
    except Mistake as mistake:
        raise Mistake(f"{mistake}{recipes.origin(data.name, data.home, data.hub)}", mistake.status) from None
    return split


def source(data: recipes.Files, part: str) -> Split:
    """One part as the files in ``data.path`` have it."""
    if any(parquet(data.path)):
        return from_parquet(data, part)
    return folders.read(data, part)


def check_size(data: recipes.Published, part: str, found: int) -> None:
    """A Mistake where a part has another number of images than is published."""
    published = data.train_images if part == "train" else data.test_images
    if published is not None and found != published:
        raise Mistake(
            f"data={data.name} has {published:,} {part} images as published, but its source has {found:,}: fetch it "
            f"again, or add data.{part}_images={found} where that is what you mean.",
            Exit.DATA,
        )


def from_parquet(data: recipes.Files, part: str) -> Split:
    """The part of a local copy in the Hub's layout, its Arrow tables memory-mapped by ``datasets``."""
    import datasets
    import pyarrow.parquet

    datasets.disable_progress_bars()
    split, shards = named(data, part), parquet_splits(data.path, data.config)
    if split not in shards:
        raise Mistake(
            f"data.path={data.path} has no split {split!r}, but {listed(sorted(shards))}. Name its {part} split: "
            f"data.{part}=NAME.",
            Exit.DATA,
        )
    check_shards(data, shards[split])
    files = [str(file) for file in shards[split]]
    try:
        if not any(pyarrow.parquet.read_metadata(file).num_rows for file in files):  # which datasets cannot read
            raise Mistake(f"data.path={data.path}: its split {split!r} has no images.", Exit.DATA)
        table = datasets.load_dataset("parquet", data_files={split: files}, split=split)
    except Mistake:
        raise
    except Exception as error:
        why = first_line(error.__cause__ or error)
        raise Mistake(f"data.path={data.path}: its parquet files cannot be read: {why}.", Exit.DATA) from None
    return from_table(data, table)


def parquet_splits(path: Path, config: str | None) -> dict[str, list[Path]]:
    """The parquet files of each split below a folder."""
    root = path / config if config and (path / config).is_dir() else path
    found: dict[str, list[Path]] = {}
    for file in parquet(root):
        found.setdefault(split_of(file)[0], []).append(file)
    return found


def split_of(file: Path) -> tuple[str, int | None]:
    """The split that a parquet file is of, and of how many files: ``SPLIT-00000-of-00002``, or ``SPLIT`` alone.

    With ``SPLIT/0000`` the folder names the split, and nothing how many files it has.
    """
    if file.stem.isdigit():
        return file.parent.name, None
    split, number = SHARD.fullmatch(file.stem).groups()
    return split, int(number or 1)


def parquet(root: Path) -> list[Path]:
    """The parquet files below a folder, without what ``vitrun eval`` writes into the runs there."""
    return [file for file in sorted(root.rglob("*.parquet")) if not (file.parent / folders.RUN).exists()]


def check_shards(data: recipes.Files, files: Sequence[Path]) -> None:
    """A Mistake where the files of a split are not as many as their names say."""
    counts = {count for file in files if (count := split_of(file)[1])}
    if counts and counts != {len(files)}:
        raise Mistake(
            f"data.path={data.path} has {len(files)} files as {files[0].name}, whose names speak of "
            f"{' and '.join(map(str, sorted(counts)))}: fetch what is missing, and keep other versions elsewhere.",
            Exit.DATA,
        )


def from_table(data: recipes.Files, table: Any) -> Split:
    """A ``datasets.Dataset`` as a split; bytes are read when an image is."""
    import datasets
    import pyarrow.compute as compute

    check_columns(data, table.features)
    feature = table.features[data.label]
    labels = np.asarray(whole_numbers(data, table.data.column(data.label)), dtype=np.int64)
    names = getattr(feature, "names", None) or numbered(data, labels.max())
    if labels.max() >= len(names):
        raise Mistake(f"data={data.name} has a label {labels.max()} among {len(names)} classes.", Exit.DATA)
    images = table.cast_column(data.image, datasets.Image(decode=False)).data.column(data.image)
    encoded, paths = compute.struct_field(images, "bytes"), compute.struct_field(images, "path")
    keys = [
        f"{row:08d}/{path or ''}" for row, path in enumerate(paths.to_pylist())
    ]  # a row number alone is surely unique
    lists = table.data.column(REAL).to_pylist() if data.labels == "real" and REAL in table.features else None

    def read_bytes(index: int) -> bytes:
        found = encoded[index].as_py()
        return found if found is not None else outside(data.path, keys[index], paths[index].as_py())

    sizes = compute.fill_null(compute.binary_length(encoded), -1).to_numpy().astype(np.int64)
    accepted = None if lists is None else padded(lists)
    return Split(keys, labels, tuple(names), encoded=read_bytes, accepted=accepted, sizes=sizes)


def check_columns(data: recipes.Files, features: Any) -> None:
    """A Mistake where the columns of images and labels are not there, or hold something else."""
    import datasets

    for option, column in (("image", data.image), ("label", data.label)):
        if column not in features:
            raise Mistake(
                f"data={data.name}: no column {column!r} among {', '.join(features)}: add data.{option}=COLUMN.",
                Exit.DATA,
            )
    kind = features[data.image]
    if not isinstance(kind, datasets.Image | dict) and getattr(kind, "dtype", "") not in ("binary", "string"):
        raise Mistake(
            f"data={data.name}: the column {data.image!r} holds no images, but {kind}: add data.image=COLUMN.",
            Exit.DATA,
        )


def whole_numbers(data: recipes.Files, column: Any) -> Any:
    """The column of labels, an Arrow array; a Mistake where they are no whole numbers."""
    import pyarrow

    if not pyarrow.types.is_integer(column.type) or column.null_count:
        what = f"{column.null_count} empty places" if column.null_count else str(column.type)
        raise Mistake(
            f"data={data.name}: the column {data.label!r} should hold a whole number an image, but it holds {what}: "
            "add data.label=COLUMN.",
            Exit.DATA,
        )
    return column


def numbered(data: recipes.Files, last: int) -> list[str]:
    """Classes that have no names, up to the label ``last``; a Mistake where that is none."""
    if last >= MOST_CLASSES:
        raise Mistake(
            f"data={data.name}: the column {data.label!r} goes up to {last}, which is no class: add data.label=COLUMN.",
            Exit.DATA,
        )
    return [str(number) for number in range(last + 1)]


def outside(folder: Path, key: str, path: str | None) -> bytes:
    """The bytes of an image that its table only names, by a path from ``folder`` or a whole one.

    A BadImage where it does not even name it, a Mistake where there is no such file.
    """
    if path is None:
        raise BadImage(f"{key} is no readable image: its place in the table is empty. Remove that row.", Exit.DATA)
    try:
        return (folder / path).read_bytes()
    except OSError as error:
        raise Mistake(f"{key}: the table holds no bytes of this image, only a path: {error}.", Exit.DATA) from None


def named(data: recipes.Files, part: str) -> str:
    """What the source calls a part."""
    return data.train if part == "train" else data.test


def first_line(error: Exception) -> str:
    """What an exception says first, or what it is where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
