"""Output for people: lines, and progress as a bar on a terminal or as plain lines elsewhere."""

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from vitrun.errors import shorten
from vitrun.runtime import distributed

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

T = TypeVar("T")
REVERSING = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # direction of writing
BAR_MIN_WIDTH = 110  # characters; a wider terminal has room for a bar beside the numbers
PROGRESS_LINE_SECONDS = 30  # between two lines of progress without a terminal


def escape_controls(text: str) -> str:
    """Return a text whose control characters, but for line feeds and tabs, are escaped: names of files may have any.

    So are those that reverse the direction of writing, by which one name can look like another.
    """
    return "".join(repr(c)[1:-1] if is_control(c) else c for c in text)


def is_control(c: str) -> bool:
    """Return whether a character is to be escaped."""
    return c in REVERSING or not (c.isprintable() or c in "\n\t" or ord(c) >= 160)


def print_error(text: str) -> None:
    """Print a line on standard error; a full disk or a closed terminal under it must not end a run."""
    with suppress(OSError):
        print(escape_controls(text), file=sys.stderr, flush=True)


class Screen:
    """Standard output of one command: with ``quiet`` the result only, with ``as_json`` as JSON.

    Only rank 0 prints.
    """

    def __init__(self, quiet: bool = False, as_json: bool = False):
        self.enabled = distributed.rank() == 0
        self.quiet = quiet or as_json or not self.enabled
        self.as_json = as_json
        self.listeners: list[Callable[[str], None]] = []  # called with every line, as to write a run's log file
        self.is_terminal = sys.stdout is not None and sys.stdout.isatty()
        self.stdout_error: str | None = None  # why lines could not be printed, unless their reader has closed the pipe

    def renew(self) -> "Screen":
        """Return a screen for another run: like this one, but without its listeners."""
        return type(self)(self.quiet, self.as_json)

    def end_process(self, status: int) -> None:
        """End the process at once: a run that is asked a second time to stop does not wait for its checkpoint."""
        os._exit(status)

    def log(self, text: str) -> None:
        """Print a line, unless the command is quiet."""
        for listener in self.listeners:
            listener(text)
        if not self.quiet:
            self.print(text)

    def print(self, text: str) -> None:
        """Print a line, even if the command is quiet, unless JSON is to be printed."""
        if not self.as_json:
            self.write(text)

    def print_table(self, header: list[str], rows: list[list[str]], names: int, title: str = "") -> None:
        """Print a table as :func:`draw_table` draws it, or if it is too wide :func:`split_table`, under a title."""
        if self.as_json:
            return
        is_wide = 1 + sum(3 + max(map(len, column)) for column in zip(header, *rows)) > find_width()
        table = split_table(header, rows, find_width()) if is_wide else draw_table(header, rows, names)
        self.write_escaped(f"{draw_title(title)}{table}\n")

    def write(self, text: str) -> None:
        """Write a line to standard output; if its reader has closed the pipe, continue without output."""
        self.write_escaped(escape_controls(text))

    def write_escaped(self, text: str) -> None:
        """Write a line whose control characters are vitrun's own, such as colours."""
        if not self.enabled:
            return
        try:
            print(text, flush=True)
        except OSError as error:
            self.stdout_error = None if isinstance(error, BrokenPipeError) else error.strerror
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def warn(self, text: str) -> None:
        """Print a line on standard error, even if the command is quiet."""
        for listener in self.listeners:
            listener(text)
        if self.enabled:
            print_error(text)

    def print_result(self, result: dict[str, Any]) -> None:
        """Print a result as JSON, or one line for each value."""
        if not self.enabled:
            return
        if self.as_json:
            self.write(format_json(result, indent=2))
            return
        for line in format_result(result):
            for listener in self.listeners:
                listener(line)
            self.print(line)

    def progress(self, what: str, total: int, done: int = 0) -> "Progress":
        """Return a bar, or lines, for ``total`` steps of which ``done`` are done."""
        return Progress(self, what, total, done)


class Progress:
    """Progress of a loop: ``with screen.progress(...) as bar: bar.update(step, "loss 1.2")``."""

    def __init__(self, screen: Screen, what: str, total: int, done: int):
        self.screen, self.what, self.total, self.done = screen, what, total, done
        self.bar: RichProgress | None = None
        self.last_line = time.monotonic()

    def __enter__(self) -> "Progress":
        if self.screen.is_terminal and not self.screen.quiet:
            from rich import progress
            from rich.console import Console
            from rich.table import Column

            console = Console(no_color="NO_COLOR" in os.environ)
            counter = Column(no_wrap=True, min_width=len(f"{self.what} {self.total}/{self.total}"))
            bar = [progress.BarColumn(min(40, console.width - BAR_MIN_WIDTH))] if console.width > BAR_MIN_WIDTH else []
            columns = (
                progress.TextColumn("{task.description} {task.completed:.0f}/{task.total:.0f}", table_column=counter),
                *bar,
                progress.TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            )
            self.bar = progress.Progress(*columns, console=console, transient=True)
            self.bar.start()
            self.task = self.bar.add_task(self.what, total=self.total, completed=self.done, note="")
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def update(self, done: int, note: str) -> None:
        """Show ``done`` of the total, with a note."""
        self.done = done
        if self.bar:
            self.bar.update(self.task, completed=done, note=note)
        elif time.monotonic() - self.last_line >= PROGRESS_LINE_SECONDS:
            self.last_line = time.monotonic()
            self.screen.log(f"{self.what} {done}/{self.total}  {note}")

    def log(self, text: str) -> None:
        """Print a line above the bar."""
        if self.bar:
            self.bar.console.print(escape_controls(text), highlight=False, markup=False)
            for listener in self.screen.listeners:
                listener(text)
        else:
            self.screen.log(text)


def track_progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield the items; print on standard error, every half a minute, how many are done."""
    last_line = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        if distributed.rank() == 0 and time.monotonic() - last_line >= PROGRESS_LINE_SECONDS:
            last_line = time.monotonic()
            print_error(f"{number}/{total} {what}")


def format_json(result: Mapping[str, Any], indent: int | None = None) -> str:
    """Return a result as valid JSON: a number that is not finite is null, and named in ``not_finite`` with its text."""
    missing: dict[str, str] = {}

    def clean(value: Any, name: str) -> Any:
        if isinstance(value, Mapping):
            return {str(key): clean(item, f"{name}.{key}") for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [clean(item, f"{name}.{number}") for number, item in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            missing[name.removeprefix(".")] = str(value)
            return None
        return value

    content = clean(result, "")
    return json.dumps(content | ({"not_finite": missing} if missing else {}), indent=indent, default=str)


def format_result(result: dict[str, Any]) -> list[str]:
    """Return a line for each value of a plain result; a metric that has a deviation is shown with it."""
    metrics = result.get("metrics", {})
    values = [(name, value) for name, value in result.items() if name != "metrics"]
    width = max((len(name) for name, _ in values), default=0)
    lines = []
    for name, value in values:
        std = metrics.get(name, {}).get("std")
        for item in value if isinstance(value, list) else [value]:
            spread = "" if std is None else f" ± {format_value(std)}"
            lines.append(f"  {name.ljust(width)}  {shorten(format_value(item))}{spread}")
    return lines


def format_value(value: object) -> str:
    """Return a value for people: floats with four digits, dicts as ``lr 0.003, top1 0.91``."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {format_value(item)}" for name, item in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_speed(value: float) -> str:
    """Return images per second with three digits, never as a power of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def format_duration(seconds: float) -> str:
    """Return seconds as ``42 s``, ``3 min``, ``1.5 h`` or ``2.1 days``."""
    for limit, unit, size in ((90, "s", 1), (90 * 60, "min", 60), (48 * 3600, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:.1f} days"


def find_width() -> int:
    """Return the columns of the terminal, or of ``COLUMNS``; 100 without either."""
    return shutil.get_terminal_size((100, 24)).columns


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


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def escape_cell(text: str) -> str:
    """Return a text on one line, without control characters."""
    return escape_controls(text).replace("\n", "\\n").replace("\t", "\\t")


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
