"""Opening a part of a folder of tables as a split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vitrun import recipes
from vitrun.data.sources.messages import shorten, single_line, typed_override
from vitrun.data.sources.parquet import files, find, image_bytes, stored
from vitrun.data.sources.parquet.label_column import ClassLabels, advise_column, read_labels
from vitrun.data.sources.parquet.pages import NotInPlace
from vitrun.data.sources.parquet.table import Images, images_of_column, make_split
from vitrun.data.sources.parquet.table_types import is_text, may_be_images, may_be_labels
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError

REAL_COLUMN = "real_labels"  # the column of ReaL's lists, if a copy has it
MOST_IN_MEMORY = 2**30  # bytes of a column that cannot be read in place, up to which it is read into memory
MOST_EXPANSION = 1000  # of the bytes in files; images are compressed already
LEAST_EXPANDED = 2**26  # bytes of images; fewer harm nobody, whatever they are


def open_table(data: recipes.Files, part: str, tick: Callable[[], None]) -> Split:
    """Return a part of a folder of parquet files, or of Arrow files of ``datasets``, whose images are read in place.

    A scan of many files calls ``tick``. Raise UserError if the folder lacks the split or files of it, or if they cannot
    be read.
    """
    splits = find.find_splits(data.folder, data.config)
    headers = read_headers(data, part, splits)
    for path, header in headers.items():
        check_columns(data, path, header)
    labels = read_labels(
        data,
        files.read_column(headers, data.label),
        find_class_names(data, headers),
        lambda: read_texts(data, splits),
        list_other_columns(data, headers),
    )
    has_real = data.labels == "real" and all(REAL_COLUMN in header.schema.names for header in headers.values())
    real = files.read_column(headers, REAL_COLUMN).to_pylist() if has_real else None
    return make_split(data, open_images(data, headers, tick), labels, real)


def open_images_alone(data: recipes.Files, part: str, tick: Callable[[], None]) -> Split:
    """Return the images of a part with -1 for labels, as :func:`open_table`; the files need no column of labels."""
    headers = read_headers(data, part, find.find_splits(data.folder, data.config))
    for path, header in headers.items():
        check_columns(data, path, header, labelled=False)
    images = open_images(data, headers, tick)
    return make_split(data, images, ClassLabels(np.full(len(images.sizes), -1), ()), None)


def read_headers(data: recipes.Files, part: str, splits: Mapping[str, Sequence[Path]]) -> dict[Path, files.Header]:
    """Return the headers of the files with rows of a part; raise UserError if there are none."""
    split = find.choose_split(data, part, splits)
    headers = {path: files.read_header(path) for path in splits[split]}
    if not any(header.rows for header in headers.values()):
        raise UserError(f"{data.group}.path={data.path}: its split {split!r} has no images.", ExitCode.DATA)
    return {path: header for path, header in headers.items() if header.rows}


def check_columns(data: recipes.Files, path: Path, header: files.Header, labelled: bool = True) -> None:
    """Raise UserError if a file lacks the column of images or labels, or if the former holds something else."""
    columns = {"image": data.image} | ({"label": data.label} if labelled else {})
    for option, column in columns.items():
        if column not in header.schema.names:
            raise UserError(
                f"{typed_override(data)} has no column {column!r}, only {files.list_columns(header)}: add "
                f"{data.group}.{option}=COLUMN for one of these. The file is {path.name}.",
                ExitCode.DATA,
            )
        if header.schema.names.count(column) > 1:
            why = f"{path} has {header.schema.names.count(column)} columns called {column!r}: rename all but one."
            raise UserError(why, ExitCode.DATA)
    kind = header.schema.field(data.image).type
    if not may_be_images(kind):
        others = [field.name for field in header.schema if may_be_images(field.type) and field.name != data.label]
        way_out = advise_column(f"{data.group}.image", others, "save each image's file as bytes, in a binary column")
        raise UserError(
            f"{typed_override(data)}: the column {data.image!r} holds {str(kind)[:80]} instead of images: {way_out}.",
            ExitCode.DATA,
        )


def list_other_columns(data: recipes.Files, headers: Mapping[Path, files.Header]) -> list[str]:
    """Return the names of the columns besides those of ``data`` that may be labels, in every file."""
    schemas = [header.schema for header in headers.values()]
    return [
        field.name
        for field in schemas[0]
        if field.name not in (data.image, data.label)
        and all(field.name in schema.names and may_be_labels(schema.field(field.name).type) for schema in schemas)
    ]


def find_class_names(data: recipes.Files, headers: Mapping[Path, files.Header]) -> Sequence[str] | None:
    """Return the names of the classes as the metadata of ``datasets`` in the files gives them.

    Raise UserError if two files have different ones.
    """
    names = {path: header.features.get(data.label, {}).get("names") for path, header in headers.items()}
    first = next(iter(names))
    for path, there in names.items():
        if there != names[first]:
            raise UserError(
                f"{typed_override(data)}: {first.name} and {path.name} have different names of classes in "
                f"{data.label!r}: they are not of one data set.",
                ExitCode.DATA,
            )
    if (given := names[first]) is None:
        return None
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given) or len({*given}) < len(given):
        raise UserError(
            f"{first} has as names of the classes in {data.label!r} {shorten(single_line(str(given)))}: a list of "
            "different texts is needed. Make it again.",
            ExitCode.DATA,
        )
    return given


def read_texts(data: recipes.Files, splits: Mapping[str, Sequence[Path]]) -> set[str]:
    """Return the labels of both parts, which are texts; an image without any is left to the part that has it."""
    parts = {name for part in ("train", "test") if (name := find.find_split_name(data, part, splits))}
    texts: set[str] = set()
    for path in (path for name in parts for path in splits[name]):
        header = files.read_header(path)
        if header.rows and data.label in header.schema.names:
            texts |= {str(text) for text in files.read_column({path: header}, data.label).unique().to_pylist() if text}
    return texts


def has_text_labels(data: recipes.Files, path: Path) -> bool:
    """Return whether the labels in a file are texts, so that the classes are known from both parts alone."""
    import pyarrow.types as types

    header = files.read_header(path)
    if data.label not in header.schema.names:
        return False
    kind = header.schema.field(data.label).type
    return is_text(kind.value_type if types.is_dictionary(kind) else kind)


def check_expansion(data: recipes.Files, paths: Sequence[Path], size: int) -> None:
    """Raise UserError if the images, ``size`` bytes, are so much larger than their files that they cannot be images."""
    stored_size = sum(path.stat().st_size for path in paths)
    if size > max(MOST_EXPANSION * stored_size, LEAST_EXPANDED):
        raise UserError(
            f"{data.group}={data.name}: the column {data.image!r} has {size / 1e6:,.0f} MB in {stored_size / 1e6:,.3g} "
            f"MB of files ({paths[0].name}, ...), and so no images, which cannot be compressed like that. Make it "
            "again.",
            ExitCode.DATA,
        )


def open_images(data: recipes.Files, headers: Mapping[Path, files.Header], tick: Callable[[], None]) -> Images:
    """Return the images of a split: in place if possible, in memory if they are few, else from a second copy."""
    column, paths = data.image, [*headers]
    leaves = {files.find_leaf(header, column) for header in headers.values()}
    if len(leaves) == 1 and (leaf := leaves.pop()) is not None:
        try:
            ranges = image_bytes.locate_images(paths, [header.parquet for header in headers.values()], leaf, tick)
        except NotInPlace as reason:
            size = image_bytes.measure_column(paths, leaf)
            check_expansion(data, paths, size)
            if size > MOST_IN_MEMORY:
                return images_of_column(stored.open_copy(data, paths, column, str(reason), size))
        else:
            linked = files.read_paths(headers, column)
            return Images(image_bytes.make_reader(paths, ranges), ranges.sizes, linked)
    images = images_of_column(files.read_column(headers, column))
    # The reader of `datasets` for folders of images gives their paths in the cache, which differ between machines.
    return images if any(header.parquet for header in headers.values()) else replace(images, with_folders=False)
