"""CSV and TSV files of paths and captions: what separates their columns, where a row ends, and whether it can be so."""

import csv
import re
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple, TextIO

from vitrun import recipes
from vitrun.data.sources.captions.columns import choose_column
from vitrun.errors import ExitCode, UserError

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
LFS_POINTER = "version https://git-lfs"
MOST_FIELD = 2**20  # characters of a field
MOST_HEADER = 20  # lines of the names of columns, which may have line breaks in quotes
QUOTED = re.compile(r'"(?:[^"]|"")*"')
Rows = Iterable[tuple[str, list[str | None]]]  # paths, each with captions; a path may come several times


class Columns(NamedTuple):
    """How the rows of a table are read."""

    separator: str
    names: list[str]
    image: int  # index of the column of paths
    caption: int  # index of the column of captions
    first: int  # number of the line after the names


class RowError(ValueError):
    """A row that is not as the names of columns say."""


def read_separated(data: recipes.Captions, lines: TextIO, file: Path, notes: list[str]) -> Rows:
    """Return the rows of a CSV or TSV file, whose first line names the columns.

    If quotes do not fit, but every line has as many columns without them, they are parts of the captions. Raise a
    ValueError for a row that has more columns than names, or quotes that do not end.
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
        notes.append(f"quotes in {file.name} are parts of the captions, as {error}")
        return rows


def read_columns(data: recipes.Captions, lines: TextIO, file: Path) -> tuple[Columns, list[str]]:
    """Return how to read the rows of a table, of which the names of columns are read, and notes on what is guessed."""
    header, number = read_header(lines)
    separator = choose_separator(data, header, file)
    reader = csv.reader(header.splitlines(keepends=True), delimiter=separator, skipinitialspace=True)
    names = [" ".join(name.split()) for name in next(reader, [])]
    chosen = [choose_column(data, option, names, file.name) for option in ("image", "caption")]
    image, caption = (names.index(name) for name, _ in chosen)
    return Columns(separator, names, image, caption, number + 1), [note for _, note in chosen if note]


def read_header(lines: TextIO) -> tuple[str, int]:
    """Return the names of columns, which begin at the first line that is not blank, and the number of their last line.

    Raise a ValueError if there are none, or no text.
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


def choose_separator(data: recipes.Captions, header: str, file: Path) -> str:
    """Return what separates columns: that of ``data.separator``, else the only one that the header has out of quotes.

    Of a file that ends in .tsv it is a tab. Raise UserError if none or several occur.
    """
    if data.separator != recipes.AUTO:
        return SEPARATORS[data.separator]
    if file.suffix.lower() == ".tsv":
        return "\t"
    bare = QUOTED.sub("", header)
    matching = [name for name, sign in SEPARATORS.items() if sign in bare]
    if len(matching) != 1:
        several = " and ".join(matching) or f"none of {', '.join(SEPARATORS)}"
        raise UserError(
            f"The first line of {file.name} has {several} between names of columns: add {data.group}.separator=NAME.",
            ExitCode.DATA,
        )
    return SEPARATORS[matching[0]]


def read_quoted(lines: TextIO, columns: Columns) -> Iterator[tuple[str, list[str | None]]]:
    """Yield the path and the caption of each row that names a path; columns in quotes may have any sign in them."""
    reader = csv.reader(lines, delimiter=columns.separator, skipinitialspace=True, strict=True)
    ended = 0  # lines that are read
    while True:
        place = f"the row of line {columns.first + ended}"
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
            why = "put a caption that has the separator in it in quotes"
            raise RowError(f"{place} has {len(row)} columns, and the first line names {len(columns.names)}: {why}")
        ended = reader.line_num
        yield from pick(row, columns)


def read_unquoted(lines: TextIO, columns: Columns) -> Iterator[tuple[str, list[str | None]]]:
    """Yield the path and the caption of each line that is not blank, with quotes as they are.

    Raise a RowError for a line that has another number of columns than names.
    """
    for line in lines:
        row = line.rstrip("\r\n").split(columns.separator)
        if line.strip() and len(row) != len(columns.names):
            raise RowError
        yield from pick(row, columns)


def pick(row: list[str], columns: Columns) -> Rows:
    """Return the path and the caption of a row; nothing if it names no path."""
    path = row[columns.image].strip() if len(row) > columns.image else ""
    return [(path, [row[columns.caption] if len(row) > columns.caption else None])] if path else []
