"""``vitrun compare paper=TABLE``, ``rows=`` and ``columns=``: one table of all runs, beside the numbers of a paper."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from vitrun import papers, recipes
from vitrun.commands.comparison_output import Output, table_writers
from vitrun.commands.comparison_tables import format_average
from vitrun.errors import ExitCode, UserError, suggest
from vitrun.papers import PaperNumber, PaperTable
from vitrun.recipes import options
from vitrun.runs import describe, pivot, results
from vitrun.runs.metrics import DETECTION_METRICS
from vitrun.runs.pivot import Cell
from vitrun.runs.published import PublishedMatch, compute_gap, match_published
from vitrun.runs.results import FinishedRun, LeftOut, Reason
from vitrun.runtime.console import Screen

DEFAULT_VALUES = ("top1", "shot1", "shot5", "shot10", "shot25", "last")
OUR_RUNS = PaperTable("none", "our own runs", results.COMMANDS, ("data",), ("model", "upstream"), (), ())
MAX_NOTES = 5  # notes on runs that are near a published number


class Pair(NamedTuple):
    """Cell of our runs, and the published numbers of the same thing."""

    cell: Cell
    matches: list[PublishedMatch]


def print_table(recipe: recipes.Compare, screen: Screen) -> Output:
    """Print one table of all runs, beside the published numbers of ``paper`` if that is a table."""
    paper = OUR_RUNS if recipe.paper in ("auto", "none") else papers.load_table(recipe.paper)
    rows, columns = recipe.rows or paper.rows, recipe.columns or paper.columns
    for name in (*rows, *columns):
        check_field_name(name, paper)
    commands = recipe.commands or paper.commands
    runs, left_out = results.load_finished_runs(recipe.runs, commands, recipe.only, repeats=bool(recipe.commands))
    check_values(recipe.values, runs)
    if not runs and not paper.numbers:
        raise UserError(f"No finished {' or '.join(commands)} run in {recipe.runs.absolute()}.", ExitCode.DATA)
    metrics = [number.metric for number in paper.numbers]
    of_other_networks = metrics and not {*metrics} & {*DEFAULT_VALUES}  # as boxes, which no classifier has
    values = tuple(dict.fromkeys([*(recipe.values or (() if of_other_networks else DEFAULT_VALUES)), *metrics]))
    left_out += [LeftOut(run.name, Reason.METRIC) for run in runs if not {*values} & run.metrics.keys()]
    cells = pivot.tabulate(runs, rows, columns, values)
    cells += pivot.average_suites(cells, (*rows, *columns))
    pairs = [Pair(cell, match_published(cell.facts, cell.metric, paper)) for cell in cells]
    header, body = arrange_table(pairs, paper, rows, columns)
    screen.print_table(header, body, 1)
    for note in list_notes(pairs, paper):
        screen.log(note)
    if not runs:
        screen.log(f"There is no finished {' or '.join(commands)} run in {recipe.runs} yet.")
    content = describe_table(pairs, paper)
    return Output(content, tuple(left_out), table_writers([header, *body], content))


def check_field_name(name: str, paper: PaperTable) -> None:
    """Raise UserError if no command has an option of that name and the published table no field."""
    fields = [field for number in paper.numbers for field in number.fields]
    keys = [key for command in results.COMMANDS for key in options.list_options(command)]
    known = dict.fromkeys([*describe.FACT_NAMES, *fields, *keys])
    if name not in known:
        raise UserError(f"Unknown option {name!r} to compare by. {suggest(name, known)}")


def check_values(values: Sequence[str], runs: Sequence[FinishedRun]) -> None:
    """Raise UserError if there are runs and none of them has one of the ``values``."""
    known = {name for run in runs for name in run.metrics}
    if values and known and not known & {*values}:
        raise UserError(f"The runs have no {values[0]!r}. {suggest(values[0], known)}", option="values")


def arrange_table(
    pairs: list[Pair], paper: PaperTable, rows: tuple[str, ...], columns: tuple[str, ...]
) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows: published rows first, our columns before the published ones."""
    published, ours = {}, {}
    for number in paper.numbers:
        labels = tuple(number.fields.get(name, "") for name in rows)
        heading = join_labels(tuple(number.fields.get(name, "") for name in columns))
        published[format_row_label(labels, number.metric), heading] = format_number(number)
    for cell, matches in pairs:
        heading = format_column_heading(cell) if paper.numbers else join_labels(cell.column)
        ours[format_row_label(cell.row, cell.metric), heading] = format_average(cell.average) + format_gaps(
            cell, matches
        )
    texts = ours | published
    row_labels = dict.fromkeys(row for row, _ in [*published, *ours])
    headings = dict.fromkeys(heading for _, heading in texts)
    body = [[row, *(texts.get((row, heading), "") for heading in headings)] for row in row_labels]
    return [", ".join(rows), *headings], body


def format_row_label(labels: tuple[str, ...], metric: str) -> str:
    """Return the label of a row, with the name of the metric unless that is top-1 or a label."""
    return join_labels(labels) + ("" if metric == "top1" or metric in labels else f" {metric}")


def format_column_heading(cell: Cell) -> str:
    """Return ``ours: L/16, ImageNet-21k``: the heading of a cell of our runs beside published ones."""
    return f"ours: {join_labels(cell.column)}" if any(cell.column) else "ours"


def join_labels(labels: tuple[str, ...]) -> str:
    """Return the labels that are not empty, joined."""
    return ", ".join(label for label in labels if label) or "-"


def format_number(number: PaperNumber) -> str:
    """Return a published number: accuracies with two digits, others as they are."""
    text = f"{number.value:.2f}" if number.percent else f"{number.value:,}"
    return text + (f" ± {number.std:.2f}" if number.std is not None else "")


def format_gaps(cell: Cell, matches: list[PublishedMatch]) -> str:
    """Return `` (-0.39)``: the gap to each published number that differs in nothing."""
    gaps = [f"{compute_gap(cell.average, match.number):+.2f}" for match in matches if not match.differences]
    return f" ({', '.join(gaps)})" if gaps else ""


def list_notes(pairs: list[Pair], paper: PaperTable) -> list[str]:
    """Return what the numbers are, where they are from, what was matched, and why near runs have no gap."""
    metrics = {cell.metric for cell, _ in pairs} | {number.metric for number in paper.numbers if number.percent}
    what = "COCO's metrics of boxes" if metrics and metrics <= {*DETECTION_METRICS} else "Top-1"
    notes = [f"{what} in percent; ± is the standard deviation over seeds (few-shot: over draws)."]
    if not paper.numbers:
        return notes
    sources = dict.fromkeys(number.source for number in paper.numbers)
    notes.append(f"{paper.name}: {paper.title}. From {'; '.join(sources)}.")
    if any(not match.differences for _, matches in pairs for match in matches):
        fields = dict.fromkeys(field for number in paper.numbers for field in number.fields)
        others = [field for field in fields if field in describe.FACT_NAMES and field not in paper.match]
        also = f" (and, if the number names it, {', '.join(others)})" if others else ""
        notes.append(
            f"In brackets: points above (+) or below (-) the published number of the same {', '.join(paper.match)}"
            f"{also}, and of eval with the view that the weights bring. Nothing else is compared."
        )
    near = dict.fromkeys(
        f"No gap for {join_labels(cell.row)}, {format_column_heading(cell)}: {'; '.join(match.differences)}."
        for cell, matches in pairs
        for match in matches
        if all(other.differences for other in matches)
    )
    more = (
        [f"Nor for {len(near) - MAX_NOTES} more: add save=NAME to see all of them in NAME.json."]
        if len(near) > MAX_NOTES
        else []
    )
    return [*notes, *list(near)[:MAX_NOTES], *more]


def describe_table(pairs: list[Pair], paper: PaperTable) -> dict[str, Any]:
    """Return our cells with their runs and gaps, and the published numbers, as JSON has them."""
    return {
        "paper": paper.name,
        "ours": [describe_cell(cell, matches) for cell, matches in pairs],
        "published": [asdict(number) for number in paper.numbers],
    }


def describe_cell(cell: Cell, matches: list[PublishedMatch]) -> dict[str, Any]:
    """Return a cell of our runs as a JSON object, with the published numbers of the same thing."""
    return {
        "row": join_labels(cell.row),
        "column": join_labels(cell.column),
        "value": cell.metric,
        "mean": cell.average.mean,
        "std": cell.average.std,
        "runs": cell.runs,
        "facts": cell.facts,
        "published": [
            asdict(match.number) | {"gap": compute_gap(cell.average, match.number), "differences": match.differences}
            for match in matches
        ],
    }
