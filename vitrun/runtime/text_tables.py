"""Tables as text: with rules and colour for a terminal, else in Markdown."""

import os
import shutil
import sys

from vitrun.runtime.text_format import escape_controls


def draw_table(header: list[str], rows: list[list[str]], names: int) -> str:
    """Return a table: with rules and colour for a terminal, else in Markdown; the first ``names`` are labels."""
    if not is_terminal():
        return format_table(header, rows)
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number < names else "right", style="cyan" if number < names else None)
    for row in rows:
        table.add_row(*(escape(escape_cell(cell)) for cell in row))
    console = Console(no_color="NO_COLOR" in os.environ, width=find_width())
    with console.capture() as captured:
        console.print(table)
    lines = captured.get().split("\n")
    return "\n".join(line.rstrip() for line in lines if line.strip())


def format_table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table with aligned columns."""
    header, *rows = [[escape_cell(cell).replace("|", "\\|") for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths)) + " |" for row in [header, *rows]]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def split_table(header: list[str], rows: list[list[str]], width: int) -> str:
    """Return a table as :func:`draw_table` does; one wider than ``width`` as several, each with the first column."""
    widths = [max(map(len, column)) + 3 for column in zip(header, *rows)]
    blocks: list[list[int]] = [[]]
    for column, size in enumerate(widths[1:], 1):
        if blocks[-1] and 1 + widths[0] + sum(widths[one] for one in blocks[-1]) + size > width:
            blocks.append([])
        blocks[-1].append(column)
    tables = []
    for block in blocks:
        parts = [[row[column] for column in (0, *block)] for row in rows if any(row[column] for column in block)]
        tables.append(draw_table([header[column] for column in (0, *block)], parts, 1))
    return "\n\n".join(tables)


def draw_title(title: str) -> str:
    """Return a line above a table: bold for a terminal, else a heading in Markdown; empty without a title."""
    title = escape_cell(title)
    if not title:
        return ""
    if not is_terminal():
        return f"### {title}\n\n"
    return f"{title}\n" if "NO_COLOR" in os.environ else f"\x1b[1m{title}\x1b[0m\n"


def escape_cell(text: str) -> str:
    """Return a text on one line, without control characters."""
    return escape_controls(text).replace("\n", "\\n").replace("\t", "\\t")


def find_width() -> int:
    """Return the columns of the terminal, or of ``COLUMNS``; 100 without either."""
    return shutil.get_terminal_size((100, 24)).columns


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()
