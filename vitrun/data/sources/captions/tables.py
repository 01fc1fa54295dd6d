"""Tables of paths and captions: CSV, TSV, JSON Lines, and the JSON of COCO and of Karpathy's splits."""

import codecs
import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitrun import recipes
from vitrun.data.sources.captions.columns import choose_column
from vitrun.data.sources.captions.listing import Listing
from vitrun.data.sources.messages import first_line
from vitrun.errors import ExitCode, UserError

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")
LFS_POINTER = "version https://git-lfs"
MOST_FIELD = 2**20  # characters of a field
Rows = Iterable[tuple[str, list[str | None]]]  # paths, each with captions; a path may come several times


def read_table(data: recipes.Captions, file: Path, part: str) -> tuple[Listing, list[str]]:
    """Return the images of a table in the order of their first rows, and notes on how it was read.

    Rows of the same path are captions of one image. Raise UserError if it lacks a column, or is no such table.
    """
    notes: list[str] = []
    try:
        with open(file, encoding=find_encoding(file), errors="surrogateescape", newline="") as lines:
            if file.suffix.lower() == ".json":
                tree = json.load(lines)
                if "annotations" not in tree:
                    return replace(group_rows(read_karpathy_rows(tree, part)), divided=True), notes
                rows = read_json_rows(tree)
            elif file.suffix.lower() == ".jsonl":
                rows = read_json_lines(data, lines, file, notes)
            else:
                rows = read_separated(data, lines, file, notes)
            return group_rows(rows), notes
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.", ExitCode.DATA) from None
    except (csv.Error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{file} is no table of captions: {first_line(error)}. Make it again.", ExitCode.DATA) from None


def find_encoding(file: Path) -> str:
    """Return the encoding of a text by its first bytes: UTF-16 if it has its mark, else UTF-8."""
    with open(file, "rb") as content:
        start = content.read(2)
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def group_rows(rows: Rows) -> Listing:
    """Return the images of rows, those of the same path joined."""
    texts: dict[str, list[str | None]] = {}
    for path, captions in rows:
        texts.setdefault(path, []).extend(captions)
    listing = Listing()
    for path, captions in texts.items():
        listing.add(path, captions)
    return listing


def read_separated(data: recipes.Captions, lines: Iterable[str], file: Path, notes: list[str]) -> Rows:
    """Return the rows of a CSV or TSV file, whose first line names the columns."""
    csv.field_size_limit(MOST_FIELD)
    lines = iter(lines)
    header = next(lines, "")
    if header.startswith(LFS_POINTER):
        raise ValueError("it is a pointer of Git LFS: fetch the file with git lfs pull")
    separator = choose_separator(data, header, file)
    columns = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
    places = []
    for option in ("image", "caption"):
        name, note = choose_column(data, option, columns, file.name)
        notes += [note] if note else []
        places.append(columns.index(name))
    return separated_rows(csv.reader(lines, delimiter=separator, skipinitialspace=True), *places)


def separated_rows(rows: Iterable[list[str]], image: int, caption: int) -> Iterator[tuple[str, list[str | None]]]:
    """Yield the path and the caption of each row that names a path."""
    for row in rows:
        if len(row) > image and row[image].strip():
            yield row[image].strip(), [row[caption] if len(row) > caption else None]


def choose_separator(data: recipes.Captions, header: str, file: Path) -> str:
    """Return what separates columns: that of ``data.separator``, else the only one that occurs in the header.

    Of a file that ends in .tsv it is a tab. Raise UserError if none or several occur.
    """
    if data.separator != recipes.AUTO:
        return SEPARATORS[data.separator]
    if file.suffix.lower() == ".tsv":
        return "\t"
    matching = [name for name, sign in SEPARATORS.items() if sign in header]
    if len(matching) != 1:
        several = " and ".join(matching) or f"none of {', '.join(SEPARATORS)}"
        raise UserError(
            f"The first line of {file.name} has {several} between names of columns: add {data.group}.separator=NAME.",
            ExitCode.DATA,
        )
    return SEPARATORS[matching[0]]


def read_json_lines(data: recipes.Captions, lines: Iterable[str], file: Path, notes: list[str]) -> Rows:
    """Return the rows of a JSON Lines file, one object a line; a caption may be a list."""
    objects = [json.loads(line) for line in lines if line.strip()]
    columns = list(dict.fromkeys(key for entry in objects[:1000] for key in entry))
    names = []
    for option in ("image", "caption"):
        name, note = choose_column(data, option, columns, file.name)
        notes += [note] if note else []
        names.append(name)
    return [(str(entry[names[0]]), as_captions(entry.get(names[1]))) for entry in objects if entry.get(names[0])]


def as_captions(value: Any) -> list[str | None]:
    """Return a caption or a list of captions as a list."""
    return [text if text is None else str(text) for text in (value if isinstance(value, list) else [value])]


def read_json_rows(tree: Mapping[str, Any]) -> Rows:
    """Return the rows of COCO's ``captions_val2017.json``."""
    images = {image["id"]: (image["file_name"], list[str | None]()) for image in tree["images"]}
    for note in tree["annotations"]:
        images[note["image_id"]][1].append(note["caption"])
    return [*images.values()]


def read_karpathy_rows(tree: Mapping[str, Any], part: str) -> Rows:
    """Return the rows of a part of ``dataset_coco.json`` or ``dataset_flickr30k.json`` of Karpathy and Fei-Fei (2015).

    The published retrieval scores are those of its ``test``; ``restval`` is for training.
    """
    parts = ("train", "restval") if part == "train" else ("test",)
    return [
        ("/".join(filter(None, (image.get("filepath"), image["filename"]))), [s["raw"] for s in image["sentences"]])
        for image in tree["images"]
        if image["split"] in parts
    ]
