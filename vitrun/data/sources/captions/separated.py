"""CSV and TSV files of paths and texts, read strictly: no row with wrong quotes or columns is taken in silence."""

import csv
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple, TextIO

from vitrun import recipes
from vitrun.data.sources.captions.columns import TableData, choose_column
from vitrun.errors import ExitCode, UserError

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
LFS_POINTER = "version https://git-lfs"
MOST_FIELD = 2**20  # characters of a field
MOST_HEADER = 20  # lines of the first row: names of columns may have line breaks in quotes
QUOTED = re.compile(r'"(?:[^"]|"")*"')
Rows = list[tuple[str, list[str | None]]]  # paths, each with captions or labels; a path may come several times


class Columns(NamedTuple):
    """How the rows of a table are read."""

    separator: str
    names: list[str]
    image: int  # index of the column of paths
    text: int  # index of the column of captions or labels
    first: int  # number of the line after the names


class RowError(ValueError):
    """A row whose quotes or columns are wrong."""


def read_separated(data: TableData, lines: TextIO, file: Path, notes: list[str]) -> Rows:
    """Return the rows of a CSV or TSV file, whose first line names the columns; add to ``notes`` what is guessed.

    Quotes are letters of the texts if they are wrong as quotes, and every line has as many columns as names when
    they are letters. Else raise a ValueError for quotes that do not end, or a row with more columns than names.
    """
    csv.field_size_limit(MOST_FIELD)
    columns, guesses = read_columns(data, lines, file)
    notes += guesses
    try:
        return [*read_quoted(lines, columns)]
    except RowError as error:
        try:
            lines.seek(0)
            read_columns(data, lines, file)
            rows = [*read_unquoted(lines, columns)]
        except RowError:
            raise error from None
        notes.append(f"quotes in {file.name} are parts of the {data.text}s, as {error}")
        return rows


def read_columns(data: TableData, lines: TextIO, file: Path) -> tuple[Columns, list[str]]:
    """Read the names of the columns; return how to read the rows after them, and notes on what is guessed."""
    header, number = read_header(lines)
    separator = choose_separator(data, header, file)
    reader = csv.reader(header.splitlines(keepends=True), delimiter=separator, skipinitialspace=True)
    names = [" ".join(name.split()) for name in next(reader, [])]
    chosen = [choose_column(data, option, names, file.name) for option in ("image", data.text)]
    image, text = (names.index(name) for name, _ in chosen)
    return Columns(separator, names, image, text, number + 1), [note for _, note in chosen if note]


def read_header(lines: TextIO) -> tuple[str, int]:
    """Return the first row that is not blank, which names the columns, and the number of its last line.

    Raise a ValueError if there is none, or if it is not text.
    """
    number, first = next(((n, line) for n, line in zip(count(1), lines) if line.strip()), (0, ""))
    if not first:
        raise ValueError("it is empty")
    if first.startswith(LFS_POINTER):
        raise ValueError("it is a pointer of Git LFS: fetch the file with git lfs pull")
    if "\0" in first or not first.isascii() and any("\udc80" <= letter <= "\udcff" for letter in first):
        raise ValueError("its first line is not UTF-8, nor UTF-16 with its mark: save it as UTF-8")
    header = [first]
    while "".join(header).count('"') % 2:
        line = next(lines, "")
        if not line or len(header) == MOST_HEADER:
            raise RowError(f"a quote in line {number} does not end")
        header.append(line)
    return "".join(header), number + len(header) - 1


def choose_separator(data: TableData, header: str, file: Path) -> str:
    """Return the separator of columns: ``data.separator``, a tab in .tsv, else the only one in the header.

    Separators in quotes do not count. Raise UserError if the header has none or several.
    """
    if data.separator != recipes.AUTO:
        return SEPARATORS[data.separator]
    if file.suffix.lower() == ".tsv":
        return "\t"
    unquoted = QUOTED.sub("", header)
    matching = [name for name, sign in SEPARATORS.items() if sign in unquoted]
    if len(matching) != 1:
        several = " and ".join(matching) or f"none of {', '.join(SEPARATORS)}"
        raise UserError(
            f"The first line of {file.name} has {several} between names of columns: add {data.group}.separator=NAME.",
            ExitCode.DATA,
        )
    return SEPARATORS[matching[0]]


def read_quoted(lines: TextIO, columns: Columns) -> Iterator[tuple[str, list[str | None]]]:
    """Yield the path and the text of each row that is not blank; columns in quotes may have separators and line breaks.

    Raise a RowError for wrong quotes, or a row that has more columns than names.
    """
    reader = csv.reader(lines, delimiter=columns.separator, skipinitialspace=True, strict=True)
    lines_read = 0
    while True:
        place = f"the row of line {columns.first + lines_read}"
        try:
            row = next(reader, None)
        except csv.Error:
            why = "has quotes that do not end where a column does; inside quotes, a quote is written twice"
            raise RowError(f"{place} {why}") from None
        if row is None:
            return
        if columns.separator == "\t" and any("\n" in field and "\t" in field for field in row):
            raise RowError(f"{place} has quotes that end in another row")
        if any(field.strip() for field in row[len(columns.names) :]):
            why = "put a text that has the separator in it in quotes"
            raise RowError(f"{place} has {len(row)} columns, and the first line names {len(columns.names)}: {why}")
        lines_read = reader.line_num
        yield from pick_columns(row, columns)


def read_unquoted(lines: TextIO, columns: Columns) -> Iterator[tuple[str, list[str | None]]]:
    """Yield the path and the text of each line that is not blank; quotes are letters.

    Raise a RowError for a line that has more or fewer columns than names.
    """
    for line in lines:
        row = line.rstrip("\r\n").split(columns.separator)
        if line.strip() and len(row) != len(columns.names):
            raise RowError
        yield from pick_columns(row, columns)


def pick_columns(row: list[str], columns: Columns) -> Rows:
    """Return the path and the text of a row; nothing if it is blank."""
    path = row[columns.image].strip() if len(row) > columns.image else ""
    text = row[columns.text] if len(row) > columns.text else None
    return [(path, [text])] if any(map(str.strip, row)) else []
