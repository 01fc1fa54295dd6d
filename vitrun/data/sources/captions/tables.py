"""Tables of paths and captions: CSV, TSV, JSON Lines, and the JSON of COCO and of Karpathy's splits."""

import codecs
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitrun import recipes
from vitrun.data.sources.captions.columns import TableData, choose_column
from vitrun.data.sources.captions.listing import Listing
from vitrun.data.sources.captions.separated import Rows, read_separated
from vitrun.data.sources.messages import first_line, shorten
from vitrun.errors import ExitCode, UserError

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")


def read_table(data: recipes.Captions, file: Path, part: str) -> tuple[Listing, list[str]]:
    """Return the images of a table in the order of their first rows, and notes on how it was read.

    Rows of the same path are captions of one image. Raise UserError if it lacks a column, or is no such table.
    """
    rows, divided, notes = read_rows(data, file, part)
    return replace(group_rows(rows), divided=divided), notes


def read_rows(data: TableData, file: Path, part: str) -> tuple[Rows, bool, list[str]]:
    """Return the rows of a table, whether they are those of the part alone, and notes on how it was read.

    Rows without a path are left out. Raise UserError if it lacks a column, or is no such table.
    """
    notes: list[str] = []
    divided = False
    try:
        with open(file, encoding=find_encoding(file), errors="surrogateescape", newline="") as lines:
            if file.suffix.lower() == ".json":
                rows, divided = read_tree(json.load(lines), part)
            elif file.suffix.lower() == ".jsonl":
                rows = read_json_lines(data, lines, file, notes)
            else:
                rows = read_separated(data, lines, file, notes)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.", ExitCode.DATA) from None
    except KeyError as error:
        raise UserError(
            f"{file} is not a table of {data.text}s: it lacks {error}. Make it again.", ExitCode.DATA
        ) from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{file} is not a table of {data.text}s: {first_line(error)}. Make it again.", ExitCode.DATA
        ) from None
    if unnamed := sum(not path for path, _ in rows):
        notes.append(f"left out: {unnamed:,} of {len(rows):,} rows of {file.name}, which name no image")
    return [row for row in rows if row[0]], divided, notes


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


def read_json_lines(data: TableData, lines: Iterable[str], file: Path, notes: list[str]) -> Rows:
    """Return the rows of a JSON Lines file, one object a line; a caption may be a list."""
    objects = [parse_object(line, number) for number, line in enumerate(lines, 1) if line.strip()]
    columns = list(dict.fromkeys(key for entry in objects[:1000] for key in entry))
    names = []
    for option in ("image", data.text):
        name, note = choose_column(data, option, columns, file.name)
        notes += [note] if note else []
        names.append(name)
    return [(as_text(entry.get(names[0])) or "", as_captions(entry.get(names[1]))) for entry in objects]


def parse_object(line: str, number: int) -> dict[str, Any]:
    """Return the object in a line of a JSON Lines file. Raise a ValueError if it is something else."""
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number} is not JSON: {first_line(error)}") from None
    if not isinstance(value, dict):
        raise ValueError(f'line {number} is not an object, as in {{"image": "1.jpg", ...}}')
    return value


def as_captions(value: Any) -> list[str | None]:
    """Return a caption or a list of captions as a list."""
    return [*map(as_text, value if isinstance(value, list) else [value])]


def as_text(value: Any) -> str | None:
    """Return a text or a number as a text, and None for null; raise a ValueError if it is something else."""
    if isinstance(value, list | dict):
        raise ValueError(f"{shorten(json.dumps(value))} stands where a text belongs")
    return None if value is None else str(value)


def read_tree(tree: Any, part: str) -> tuple[Rows, bool]:
    """Return the rows of a JSON file, and whether they are those of the part alone."""
    if not isinstance(tree, dict):
        raise ValueError("it is neither COCO's captions nor Karpathy's splits, but a list or a value")
    return (read_json_rows(tree), False) if "annotations" in tree else (read_karpathy_rows(tree, part), True)


def read_json_rows(tree: Mapping[str, Any]) -> Rows:
    """Return the rows of COCO's ``captions_val2017.json``."""
    images = {image["id"]: (as_text(image["file_name"]) or "", list[str | None]()) for image in tree["images"]}
    for note in tree["annotations"]:
        images[note["image_id"]][1].append(as_text(note["caption"]))
    return [*images.values()]


def read_karpathy_rows(tree: Mapping[str, Any], part: str) -> Rows:
    """Return the rows of a part of ``dataset_coco.json`` or ``dataset_flickr30k.json`` of Karpathy and Fei-Fei (2015).

    The published retrieval scores are those of its ``test``; ``restval`` is for training.
    """
    parts = ("train", "restval") if part == "train" else ("test",)
    return [
        (join_names(image), [as_text(sentence["raw"]) for sentence in image["sentences"]])
        for image in tree["images"]
        if image["split"] in parts
    ]


def join_names(image: Mapping[str, Any]) -> str:
    """Return the path of an image of Karpathy's splits; empty if it has no name."""
    folder, name = as_text(image.get("filepath")), as_text(image["filename"])
    return "/".join(filter(None, (folder, name))) if name else ""
