"""``vitrun runs``: the runs in a folder with their state, once or live; ``vitrun runs rm`` deletes some."""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vitrun import recipes
from vitrun.errors import ExitCode, UserError, suggest
from vitrun.runs import run_files
from vitrun.runs.results import matches_name
from vitrun.runs.status import RunStatus, find_dependents, list_statuses
from vitrun.runtime.console import Screen
from vitrun.runtime.files import remove
from vitrun.runtime.process import hold_lock
from vitrun.runtime.text_format import format_duration, format_speed
from vitrun.runtime.text_tables import find_width

HEADER = ["run", "state", "step", "loss", "images/s", "left", "top-1", "AP"]
WATCH_SECONDS = 2.0
MIN_NAME = 24  # columns of the name of a run on a narrow terminal
CLEAR_SCREEN = "\033[2J\033[H"


def execute(recipe: recipes.ListRuns, screen: Screen) -> dict[str, Any]:
    """Print the runs with their state; return them under ``runs``, or the names of deleted ones under ``removed``."""
    if recipe.remove:
        return {"removed": remove_runs(recipe, screen)}
    while True:
        statuses = [
            status
            for status in list_statuses(recipe.runs, recipe.only)
            if not recipe.states or status.state in recipe.states
        ]
        if recipe.watch and screen.is_terminal:
            sys.stdout.write(CLEAR_SCREEN)
        print_statuses(statuses, recipe.runs, screen)
        if not recipe.watch:
            return {"runs": [asdict(status) for status in statuses]}
        time.sleep(WATCH_SECONDS)


def print_statuses(statuses: Sequence[RunStatus], runs: Path, screen: Screen) -> None:
    """Print a table of runs, then the errors of those that failed, and how many are in which state."""
    if statuses:
        header, cells = select_columns([format_status(status) for status in statuses])
        others = [max(map(len, column)) + 3 for column in zip(header[1:], *(row[1:] for row in cells))]
        width = max(MIN_NAME, find_width() - sum(others) - 4)
        rows = [[shorten_name(name, width), *row] for name, *row in cells]
        screen.print_table(header, rows, 2)
    for status in statuses:
        if status.error:
            screen.print(f"{status.name}: {status.error}")
    counts = {state: sum(one.state == state for one in statuses) for state in dict.fromkeys(s.state for s in statuses)}
    screen.log(f"{runs}: {', '.join(f'{count} {state}' for state, count in counts.items()) or 'no runs'}")


def select_columns(rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the cells: AP only if there are detectors, and top-1 unless there is nothing else."""
    has_top1, has_ap = (any(row[column] for row in rows) for column in (-2, -1))
    shown = [name for name in HEADER if name != ("top-1" if has_ap and not has_top1 else "" if has_ap else "AP")]
    return shown, [[text for name, text in zip(HEADER, row) if name in shown] for row in rows]


def format_status(status: RunStatus) -> list[str]:
    """Return the cells of a run."""
    step = "" if status.step is None else f"{status.step:,}" + (f"/{status.steps:,}" if status.steps else "")
    return [
        status.name,
        status.state,
        step,
        "" if status.loss is None else f"{status.loss:.4g}",
        "" if status.images_per_second is None else format_speed(status.images_per_second),
        "" if status.seconds_left is None else format_duration(status.seconds_left),
        *("" if score is None else f"{100 * score:.2f}" for score in (status.top1, status.ap)),
    ]


def shorten_name(name: str, width: int) -> str:
    """Return a name in at most ``width`` columns, cut in its middle: its end has the hash."""
    return name if len(name) <= width else f"{name[: width - 13]}...{name[-10:]}"


def remove_runs(recipe: recipes.ListRuns, screen: Screen) -> list[str]:
    """Delete runs after a question; return their names.

    Raise UserError if one is unknown or running, or if there is nobody to ask.
    """
    known = [folder.name for folder in run_files.find_runs(recipe.runs)]
    names = {pattern: [name for name in known if is_named(name, pattern)] for pattern in recipe.remove}
    for pattern, matches in names.items():
        if not matches:
            raise UserError(f"There is no run {pattern!r} in {recipe.runs}. {suggest(pattern, known)}", option="remove")
    chosen = sorted({name for matches in names.values() for name in matches})
    for name in chosen:
        dependents = [other for other in find_dependents(name, recipe.runs) if other not in chosen]
        needed = f"; used by {', '.join(dependents)}" if dependents else ""
        screen.print(f"{name}: {folder_size(recipe.runs / name) / 1e6:,.1f} MB{needed}")
    if recipe.ask and not is_confirmed(f"Delete {len(chosen)} run{'s' * (len(chosen) > 1)} for good? [y/N] "):
        screen.log("Nothing was deleted.")
        return []
    for name in chosen:
        with hold_lock(recipe.runs / name / run_files.LOCK_FILE, name, screen.warn):  # which a running one holds
            remove(recipe.runs / name)
        screen.log(f"Deleted {recipe.runs / name}")
    return chosen


def is_named(name: str, pattern: str) -> bool:
    """Return whether a pattern with ``*`` matches a name, or is that name."""
    return name == pattern or "*" in pattern and matches_name(name, pattern)


def is_confirmed(question: str) -> bool:
    """Return the answer to a question on the terminal; raise UserError if there is none to ask."""
    if sys.stdin is None or not sys.stdin.isatty():
        why = "Deleting runs needs a confirmation, and there is no terminal to ask on: add ask=false."
        raise UserError(why, ExitCode.COMMAND, "ask")
    return input(question).strip().lower() in ("y", "yes")


def folder_size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
