"""Opening a part of a set of images whose labels are in a table."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitrun import recipes
from vitrun.data.class_names import find_classes
from vitrun.data.sources.captions.tables import read_rows
from vitrun.data.sources.folder_errors import PART_NAMES, TABLE_SUFFIXES
from vitrun.data.sources.labelled.image_names import find_images
from vitrun.data.sources.local_files import check_image_count
from vitrun.data.sources.messages import abbreviate, escape_name
from vitrun.data.sources.named_files import check_places, explain_missing, measure_file
from vitrun.data.sources.partition import ImageFile, choose_test_files, describe_partition
from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.console import Screen
from vitrun.runtime.files import read_regular_file

MOST_LETTERS = 255  # of a label, as of the name of a folder
READ_SUFFIXES = (".csv", ".tsv", ".jsonl")


@dataclass(frozen=True)
class Labels:
    """The names of images in a table with the class of each, in the order of their first rows."""

    table: Path
    classes: dict[str, str]  # by the name of an image
    notes: list[str]

    @property
    def names(self) -> list[str]:
        """Return the names of all classes: in order or, if all are numbers, by number."""
        names = {*self.classes.values()}
        return sorted(names, key=int) if all(map(str.isdecimal, names)) else sorted(names)


def open_labelled(data: recipes.Table, part: str, screen: Screen, tick: Callable[[], None]) -> Split:
    """Return a part of the images that a table names with their labels.

    One table serves both parts, divided by class. The classes are those of the training table. Raise UserError if an
    image has no label or several, or if none of the images is there.
    """
    train, test = find_part(data, "train"), find_part(data, "test")
    labels = read_labels(data, train if data.train is not None else test)
    names, location = labels.names, str(labels.table)
    if len(names) < 2:
        why = f"names only one class, {abbreviate(names)}, but at least two are needed"
        raise UserError(f"{labels.table} {why}.", ExitCode.DATA)
    if data.train is None or train == test or part == "train":
        files, notes = list_files(data, labels, names)
    else:
        labels = read_labels(data, test)
        check_known_classes(labels, train, names)
        files, notes = list_files(data, labels, names)
        location = str(test)
    if data.train is not None and train == test:
        chosen = choose_test_files(files, data.test_share, data.split_seed)
        location = describe_partition(data, files, names, len(chosen))
        files = [file for file in files if (file[0] in chosen) == (part == "test")]
    split = make_split(data, labels.table, files, names, location, notes)
    check_image_count(data, part, len(split))
    return split


def find_part(data: recipes.Table, part: str) -> Path:
    """Return the table of a part; raise UserError if it is not known which it is."""
    given = data.train if part == "train" else data.test
    folder = data.folder.parent if data.folder.is_file() else data.folder
    if given not in (None, recipes.AUTO):
        if not (folder / given).is_file():
            raise UserError(f"is not a table in {folder}.", ExitCode.DATA, f"{data.group}.{part}", given)
        return folder / given
    if data.folder.is_file():
        return data.folder
    tables = [
        file for file in sorted(folder.iterdir()) if file.suffix.lower() in TABLE_SUFFIXES and file.name[0] != "."
    ]
    by_name = {file.stem.casefold(): file for file in tables}
    named = [by_name[usual] for usual in PART_NAMES[part] if usual in by_name] or tables
    if len(named) == 1 or named is not tables:
        return named[0]
    if not tables:
        why = f"is a folder without a table ({', '.join(READ_SUFFIXES)})."
        raise UserError(why, ExitCode.DATA, f"{data.group}.path", str(folder))
    several = f"{data.group}.path={folder} has several tables, {abbreviate([file.name for file in tables])}"
    one = by_name.get("train", tables[0])
    way_out = f"add {data.group}.{part}=TABLE, or take one for both parts, as in {data.group}.path={one}"
    raise UserError(f"{several}: {way_out}.", ExitCode.DATA)


def read_labels(data: recipes.Table, table: Path) -> Labels:
    """Return the labels in a table; raise UserError if an image has none or several."""
    if table.suffix.lower() not in READ_SUFFIXES:
        why = f"is not a table that can be read: save it as one of {', '.join(READ_SUFFIXES)}."
        raise UserError(why, ExitCode.DATA, f"{data.group}.path", str(table))
    rows, _, notes = read_rows(data, table, "train")
    classes: dict[str, str] = {}
    for name, texts in rows:
        values = {escape_name((text or "").strip()) for text in texts} | ({classes[name]} if name in classes else set())
        shown = abbreviate([name])
        if "" in values or not values:
            raise UserError(f"{table}: {shown} has no label. Write one, or remove the row.", ExitCode.DATA)
        if len(values) > 1:
            why = f"{shown} has several labels, {abbreviate(sorted(values))}, but an image may have one"
            raise UserError(f"{table}: {why}. Remove the others.", ExitCode.DATA)
        classes[name] = values.pop()
        if len(classes[name]) > MOST_LETTERS:
            why = f"the label of {shown} has {len(classes[name]):,} letters, more than {MOST_LETTERS}"
            raise UserError(f"{table}: {why}. Name the column of labels: {data.group}.label=COLUMN.", ExitCode.DATA)
    if not classes:
        raise UserError(f"{table} has no rows.", ExitCode.DATA)
    return Labels(table, classes, notes)


def check_known_classes(labels: Labels, train: Path, names: Sequence[str]) -> None:
    """Raise UserError if a table of test images has classes that the training table lacks."""
    unknown = [name for name, position in zip(labels.names, find_classes(names, labels.names)) if position < 0]
    if unknown:
        why = f"has classes that {train.name} does not have: {abbreviate(unknown)}. It has {abbreviate(names)}"
        raise UserError(f"{labels.table} {why}. Classes are matched by name.", ExitCode.DATA)


def list_files(data: recipes.Table, labels: Labels, names: Sequence[str]) -> tuple[list[ImageFile], list[str]]:
    """Return the images of a table, and notes; sizes are -1 for files that are not there."""
    images, note = find_images(data, labels.table, [*labels.classes])
    base = str(data.images or labels.table.parent)
    numbers = dict(zip(labels.names, find_classes(names, labels.names).tolist()))
    files: dict[str, ImageFile] = {}
    for name, label in labels.classes.items():
        path = images.find(name)
        key = escape_name(name_below(base, path))
        if key in files:
            shown = f"{abbreviate([key])} twice, once as {abbreviate([name])}"
            raise UserError(f"{labels.table} names {shown}. Remove one.", ExitCode.DATA)
        files[key] = (key, path, numbers[label], measure_file(path))
    check_places(data, labels.table, (path for _, path, _, size in files.values() if size >= 0))
    return [*files.values()], [*labels.notes, *[note] * bool(note)]


def name_below(base: str, path: str) -> str:
    """Return ``os.path.relpath(path, base)``, which takes seconds for 100,000 paths, where none of them is unusual."""
    inside = path.removeprefix(f"{base}/")
    return os.path.relpath(path, base) if inside == path or "//" in inside or "/." in f"/{inside}" else inside


def make_split(
    data: recipes.Table,
    table: Path,
    files: Sequence[ImageFile],
    names: Sequence[str],
    location: str,
    notes: Sequence[str],
) -> Split:
    """Return the split of images in files that a table names."""
    keys, paths, labels, sizes = zip(*files) if files else ((), (), (), ())
    return Split(
        [*keys],
        np.array(labels, dtype=np.int64),
        tuple(names),
        read_encoded=lambda index: read_regular_file(Path(paths[index])),
        sizes=np.array(sizes, dtype=np.int64),
        location=location,
        notes=tuple(notes),
        named=True,
        exif=data.exif,
        unusable={row: explain_missing(table) for row, size in enumerate(sizes) if size < 0},
    )
