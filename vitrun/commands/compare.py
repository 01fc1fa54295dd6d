"""``vitrun compare``: finished runs side by side, and beside published numbers."""

import textwrap
from typing import Any, get_args

from vitrun import recipes
from vitrun.commands import comparison_tables, paper_figure, published_table
from vitrun.commands.comparison_output import TABLE_SUFFIXES, Output, check_format, save_output, table_writers
from vitrun.errors import ExitCode, UserError, suggest
from vitrun.recipes.tools import PublishedFigure, PublishedTable
from vitrun.runs.comparison import Comparison, compare_runs
from vitrun.runs.results import LeftOut, Reason
from vitrun.runtime.console import Screen
from vitrun.runtime.text_tables import find_width

MAX_NAMES = 3  # of the runs that a line names
MAX_ERROR = 120  # characters of the error that ended a run
MAX_DAMAGED = 5  # lines about damaged runs


def execute(recipe: recipes.Compare, screen: Screen) -> dict[str, Any]:
    """Print the tables, and write them to ``save`` if that is given; return what their JSON has."""
    is_figure = recipe.paper in get_args(PublishedFigure)
    check_format(recipe.save, paper_figure.SUFFIXES if is_figure else TABLE_SUFFIXES)
    if is_figure:
        output = paper_figure.print_figure(recipe, screen)
    elif recipe.paper in get_args(PublishedTable) or recipe.rows or recipe.columns:
        output = published_table.print_table(recipe, screen)
    else:
        output = print_runs(recipe, screen)
    report_left_out(output.left_out, screen)
    output.content["left_out"] = [
        {"run": run.name, "reason": run.reason.value, "detail": run.detail} for run in output.left_out
    ]
    if recipe.save is not None:
        written = save_output(recipe.save, output.writers, recipe.force)
        screen.log(f"Written to {' and '.join(map(str, written))}")
    return output.content


def print_runs(recipe: recipes.Compare, screen: Screen) -> Output:
    """Print a table for each data set."""
    comparison = compare_runs(recipe.runs, recipe.commands, recipe.only, recipe.values)
    if not comparison.tables:
        raise UserError(explain_emptiness(recipe, comparison), ExitCode.DATA)
    with_published = recipe.paper != "none"
    for table in comparison.tables:
        comparison_tables.print_table(screen, table, recipe.top, with_published, find_width())
    for note in comparison_tables.list_notes(comparison.tables, with_published):
        screen.log(note)
    content = {"paper": recipe.paper, **comparison_tables.describe_comparison(comparison, with_published)}
    rows = comparison_tables.list_csv_rows(comparison.tables)
    return Output(content, comparison.left_out, table_writers(rows, content))


def explain_emptiness(recipe: recipes.Compare, comparison: Comparison) -> str:
    """Return why there is nothing to compare."""
    left_out = comparison.left_out
    if recipe.values and (lacking := [run for run in left_out if run.reason is Reason.METRIC]):
        known = sorted({name for run in lacking for name in run.detail.split(", ")})
        return f"No run has {' or '.join(recipe.values)} in its result. {suggest(recipe.values[0], known)}"
    counts = {reason: sum(run.reason is reason for run in left_out) for reason in Reason}
    why = ", ".join(f"{count} {reason.value}" for reason, count in counts.items() if count)
    runs = recipe.runs.absolute()
    return (
        f"No finished run to compare in {runs}{f' (left out: {why})' if why else ''}. "
        "Name another folder with runs=FOLDER, or print published numbers, as with paper=table2."
    )


def report_left_out(left_out: tuple[LeftOut, ...], screen: Screen) -> None:
    """Warn of each damaged run, and log which others are left out, a line for each reason."""
    damaged = [run for run in left_out if run.reason is Reason.DAMAGED]
    for run in damaged[:MAX_DAMAGED]:
        screen.warn(f"left out: {run.name}: {run.detail}")
    if len(damaged) > MAX_DAMAGED:
        screen.warn(f"left out: {len(damaged) - MAX_DAMAGED} more damaged runs (--json names them)")
    for reason in Reason:
        names = [describe_left_out(run) for run in left_out if run.reason is reason]
        if names and reason is Reason.UNSELECTED:
            screen.log(f"Left out, {reason.value}: {len(names)} runs.")
        elif names and reason is not Reason.DAMAGED:
            screen.log(f"Left out, {reason.value}: {abbreviate(names)}.")


def describe_left_out(run: LeftOut) -> str:
    """Return the name of a run, with the error that ended it."""
    if run.reason is not Reason.FAILED:
        return run.name
    return f"{run.name} ({textwrap.shorten(run.detail, MAX_ERROR, placeholder=' ...')})"


def abbreviate(names: list[str]) -> str:
    """Return names joined, of many the first ones and the number of the rest."""
    more = len(names) - MAX_NAMES
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:MAX_NAMES])} and {more} more"
