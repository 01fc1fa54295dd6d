"""Output for people: lines, and progress as a bar on a terminal or as plain lines elsewhere."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from vitrun.runtime import distributed
from vitrun.runtime.text_format import escape_controls, format_json, format_result
from vitrun.runtime.text_tables import draw_table, draw_title, find_width, is_terminal, split_table

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

T = TypeVar("T")
BAR_MIN_WIDTH = 110  # characters; a wider terminal has room for a bar beside the numbers
PROGRESS_LINE_SECONDS = 30  # between two lines of progress without a terminal


def print_error(text: str) -> None:
    """Print a line on standard error; a full disk or a closed terminal under it must not end a run."""
    with suppress(OSError):
        print(escape_controls(text), file=sys.stderr, flush=True)


def can_print(text: str) -> bool:
    """Return whether standard output has the characters of a text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


class Screen:
    """Standard output of one command: with ``quiet`` the result only, with ``as_json`` as JSON.

    Only rank 0 prints.
    """

    def __init__(self, quiet: bool = False, as_json: bool = False):
        self.enabled = distributed.rank() == 0
        self.quiet = quiet or as_json or not self.enabled
        self.as_json = as_json
        self.listeners: list[Callable[[str], None]] = []  # called with every line, as to write a run's log file
        self.is_terminal = is_terminal()
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
