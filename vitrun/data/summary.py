"""Summary of a data set's files: its splits, their sizes and classes, and the overrides that read them."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from vitrun import recipes
from vitrun.data.class_names import describe_missing_classes, describe_unlabelled
from vitrun.data.decode import open_image, read_orientation
from vitrun.data.sources import local_files, registry
from vitrun.data.sources.messages import abbreviate
from vitrun.data.sources.parquet import files
from vitrun.data.sources.parquet.find import find_splits
from vitrun.data.sources.parquet.table_types import is_text, may_be_images, may_be_labels
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError, shorten
from vitrun.recipes import tables
from vitrun.recipes.trees import format_value
from vitrun.runtime.console import Screen
from vitrun.runtime.text_tables import format_table

MAX_INSPECTED = 5000  # images of a split, evenly spread, whose format and size are read
MAX_LISTED = 20  # unreadable images of a split that are named
OWN_FOLDER_ROWS = ("folder", "parquet")  # the rows of conf/data for a folder of any data set
FOLDER_OPTIONS = ("train", "test", "test_share", "split_seed", "exif")  # that a folder may need besides its path
FLOATS = ("halffloat", "float", "double")
HEADER = ["split", "images", "classes", "a class", "format", "width", "height", "fingerprint"]


def open_parts(data: recipes.Data, screen: Screen) -> tuple[dict[str, Split], list[str]]:
    """Return the parts of a data set as its folder has them.

    For a folder that is not a known data set, return every split, and the overrides that read it.
    """
    if isinstance(data, recipes.Files) and data.name in OWN_FOLDER_ROWS and data.path is not None:
        return open_unknown_folder(data)
    named = [part for part in ("train", "test") if getattr(data, part, part)]
    return {part: registry.open_source(data, part, screen) for part in named}, list_overrides(data)


def list_overrides(data: recipes.Data) -> list[str]:
    """Return the overrides that choose a set of one's own: the row of such sets, and the options that differ from it.

    A set of a row that describes it alone has none: it is chosen by its name.
    """
    name = tables.find_data_row({"name": data.name, "source": data.source})
    if name not in tables.UNNAMED_ROWS:
        return []
    row = tables.load_data_row(name)
    values = {field.name: getattr(data, field.name) for field in fields(data) if field.name != "name"}
    changed = {key: value for key, value in values.items() if value != getattr(row, key)}
    return [f"data={name}", *(f"data.{key}={format_value(value)}" for key, value in changed.items())]


def print_summary(parts: dict[str, Split], overrides: list[str], screen: Screen) -> "Summary":
    """Print one row per part of a data set, and the overrides that read it; return the rows, and what is unreadable."""
    inspected = {name: inspect_split(split) for name, split in parts.items()}
    rows = [[name, *summarize_split(split, inspected[name])] for name, split in parts.items()]
    screen.print(format_table(HEADER, rows))
    for location in dict.fromkeys(split.location for split in parts.values() if split.location):
        screen.log(f"from {location}")
    for note in dict.fromkeys(note for split in parts.values() for note in split.notes):
        screen.log(note)
    for name, split in parts.items():
        if unlabelled := describe_unlabelled(split):
            screen.log(f"{name} has {unlabelled}: training and eval refuse this part")
        if missing := describe_missing_classes(split):
            screen.log(f"no {name} images of {missing}")
    if overrides:
        screen.log(f"To use it: {shlex.join(overrides)}")
    if any(len(split) > MAX_INSPECTED for split in parts.values()):
        screen.log(f"Formats and sizes are those of up to {MAX_INSPECTED:,} images per split, evenly spread.")
    counts = [{"images": len(split), "classes": len(split.classes)} for split in parts.values()]
    results = [dict(zip(HEADER, row)) | count for row, count in zip(rows, counts)]
    return Summary(results, {name: part.unreadable for name, part in inspected.items()})


def open_unknown_folder(data: recipes.Files) -> tuple[dict[str, Split], list[str]]:
    """Return every split of a parquet folder, or the two parts of class folders, and the overrides that read them.

    The columns of a parquet folder are those that ``data`` names if it has them, else the first of images and labels.
    """
    with local_files.reading_folder(data):
        splits = find_splits(data.folder, None)
        has_tables = local_files.holds_tables(data)
    if not has_tables:
        default = cast(recipes.Files, tables.load_data_row("folder", path=data.path))
        values = {name: getattr(data, name) for name in FOLDER_OPTIONS if getattr(data, name) != name}
        row = replace(default, **values)
        parts = {part: local_files.open_path(row, part) for part in ("train", "test")}
        changes = {name: value for name, value in values.items() if value != getattr(default, name)}
        return parts, [
            "data=folder",
            f"data.path={data.path}",
            *(f"data.{k}={format_value(v)}" for k, v in changes.items()),
        ]
    row = guess_table_row(data, next(iter(splits.values()))[0])
    parts = {name: local_files.open_path(replace(row, test=name), "test") for name in sorted(splits)}
    overrides = ["data=parquet", f"data.path={data.path}", f"data.image={row.image}", f"data.label={row.label}"]
    return parts, overrides + [f"data.{part}=NAME" for part in ("train", "test") if part not in parts]


def guess_table_row(data: recipes.Files, file: Path) -> recipes.Files:
    """Return the data set that reads a folder of tables, with the columns of ``file``, one of them.

    Without a column that may be of images or labels it is the one that ``data`` names, whose error training gives too.
    Raise UserError if it cannot be read, or has no such column.
    """
    header = files.read_header(file)
    kinds = {field.name: field.type for field in header.schema}
    images = [name for name, kind in kinds.items() if may_be_images(kind) and not is_text(kind)]
    images += [name for name, kind in kinds.items() if is_text(kind) and name == data.image]
    labels = [name for name, feature in header.features.items() if feature.get("_type") == "ClassLabel"]
    labels += [name for name, kind in kinds.items() if may_be_labels(kind) and name not in images]
    labels += [name for name, kind in kinds.items() if str(kind) in FLOATS]  # whole numbers, or an error that says so
    images = images or [data.image] * (data.image in kinds)
    labels = labels or [data.label] * (data.label in kinds)
    if not images or not labels:
        missing = "images" if not images else "labels"
        there = abbreviate([f"{name} ({kind})" for name, kind in kinds.items()])
        raise UserError(f"{file} has no column of {missing}, only {there}.", ExitCode.DATA)
    image = data.image if data.image in images else images[0]
    label = data.label if data.label in labels else labels[0]
    return cast(recipes.Files, tables.load_data_row("parquet", path=data.path, image=image, label=label))


@dataclass(frozen=True)
class Summary:
    """Rows of the table of a data set's parts, and a sentence about each unreadable image by part and row."""

    rows: list[dict[str, Any]]
    unreadable: dict[str, dict[int, str]]


@dataclass(frozen=True)
class Inspected:
    """What the first bytes of images say."""

    facts: list[tuple[str, int, int]]  # format, width and height of each image
    unreadable: dict[int, str]  # a sentence about each image that is none, by its row


def inspect_split(split: Split) -> Inspected:
    """Return what up to ``MAX_INSPECTED`` images of a split are, evenly spread."""
    facts, unreadable = [], {}
    for row in range(0, len(split), -(-len(split) // MAX_INSPECTED) or 1):
        try:
            facts.append(inspect_image(split, row))
        except UserError as error:
            unreadable[row] = str(error)
    return Inspected(facts, unreadable)


def report_unreadable(unreadable: Mapping[str, Mapping[int, str]], screen: Screen) -> None:
    """Log each image that cannot be read, up to ``MAX_LISTED`` of a part; raise UserError with their number.

    ``unreadable`` has a sentence for each by part and row.
    """
    parts = {name: [*sentences.values()] for name, sentences in unreadable.items()}
    counts = [f"{len(sentences):,} {name}" for name, sentences in parts.items() if sentences]
    for name, sentences in parts.items() if sum(map(len, parts.values())) > 1 else ():
        for sentence in sentences[:MAX_LISTED]:
            screen.log(f"{name}: {shorten(sentence)}")
        if len(sentences) > MAX_LISTED:
            screen.log(f"{name}: and {len(sentences) - MAX_LISTED:,} more")
    if every := [sentence for sentences in parts.values() for sentence in sentences]:
        number = f"{' and '.join(counts)} images cannot be read: " if len(every) > 1 else ""
        raise UserError(f"{number}{every[0]}", ExitCode.DATA)


def summarize_split(split: Split, inspected: Inspected) -> list[str]:
    """Return the cells of a split's row after its name."""
    if not len(split):
        return ["0", str(len(split.classes)), "", "", "", "", ""]
    present = np.unique_counts(split.labels[split.labels >= 0]).counts
    complete = len(present) == len(split.classes)
    classes = f"{len(split.classes):,}" if complete else f"{len(present):,} of {len(split.classes):,}"
    formats, widths, heights = zip(*inspected.facts) if inspected.facts else ((), (), ())
    return [
        f"{len(split):,}",
        classes,
        format_range(present),
        " ".join(name for name, _ in Counter(formats).most_common()),
        format_range(widths),
        format_range(heights),
        split.fingerprint,
    ]


def inspect_image(split: Split, index: int) -> tuple[str, int, int]:
    """Return format, width and height of an image from its first bytes; the format of raw pixels is ``pixels``."""
    if split.pixels is not None:
        return "pixels", split.pixels.shape[3], split.pixels.shape[2]
    encoded = split.load_encoded(index)
    if isinstance(encoded, np.ndarray):
        return "pixels", encoded.shape[1], encoded.shape[0]
    try:
        with open_image(encoded) as image:
            turned = split.exif and image.format != "TIFF" and read_orientation(image) >= 5  # by a quarter
            width, height = (image.height, image.width) if turned else image.size
            return image.format or "", width, height
    except Exception as error:  # whatever a decoder raises
        raise split.bad_image_error(index, encoded, error) from None


def format_range(numbers: Iterable[int]) -> str:
    """Return ``224``, or ``102-1280`` if the numbers differ; nothing if there are none."""
    ordered = sorted(numbers)
    if not ordered:
        return ""
    low, high = ordered[0], ordered[-1]
    return f"{low}" if low == high else f"{low}-{high}"
