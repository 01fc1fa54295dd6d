"""What ``vitrun compare`` has printed, as JSON and as the files that ``save=`` names."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from vitrun.errors import UserError
from vitrun.runs.results import LeftOut
from vitrun.runtime.outputs import check_replaceable, unwritable_error, write_output

TABLE_SUFFIXES = (".csv", ".json")
OTHER_FORMATS = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".html", ".md", ".txt", ".tsv", ".xlsx", ".parquet")


@dataclass(frozen=True)
class Output:
    """Content of the JSON, the runs that are left out, and how each kind of file is written."""

    content: dict[str, Any]
    left_out: tuple[LeftOut, ...]
    writers: Mapping[str, Callable[[Path], object]]  # by the suffix of the file


def write_csv(rows: Sequence[Sequence[Any]], path: Path) -> None:
    """Write rows as CSV."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write an object as JSON."""
    path.write_text(json.dumps(content, indent=2, allow_nan=False), encoding="utf-8")


def save_output(save: Path, writers: Mapping[str, Callable[[Path], object]], force: bool) -> list[Path]:
    """Write the file that ``save`` names, or if it has no suffix of ``writers`` one with each; return them.

    Raise UserError if the suffix is another format's, or a file exists that may not be replaced.
    """
    own = {save: writers[save.suffix]} if save.suffix in writers else {}
    files = own or {save.with_name(f"{save.name}{suffix}"): write for suffix, write in writers.items()}
    for file in files:
        check_replaceable(file, "save")
    try:
        for file, write in files.items():
            write_output(file, write, "save", force)
    except OSError as error:
        raise unwritable_error(save, "save", error) from None
    return list(files)


def check_format(save: Path | None, suffixes: Sequence[str]) -> None:
    """Raise UserError if a file is to have another format than those of the ``suffixes``."""
    if save is not None and save.suffix in OTHER_FORMATS and save.suffix not in suffixes:
        figures = "" if ".svg" in suffixes else " Figures, as paper=figure5, are written as .png or .svg."
        why = f"is not written as {save.suffix}, but as {' or '.join(suffixes)}; without a suffix as each.{figures}"
        raise UserError(why, option="save", value=str(save))


def table_writers(rows: Sequence[Sequence[Any]], content: Mapping[str, Any]) -> dict[str, Callable[[Path], object]]:
    """Return how a table is written: its rows as CSV, its content as JSON."""
    return {".csv": partial(write_csv, rows), ".json": partial(write_json, content)}
