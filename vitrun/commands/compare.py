"""``vitrun compare``: finished runs beside published numbers."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from vitrun import papers, recipes
from vitrun.errors import ExitCode, UserError, suggest
from vitrun.papers import PaperNumber, PaperTable
from vitrun.recipes import options
from vitrun.runs import describe, results
from vitrun.runs.results import Cell
from vitrun.runtime.console import Screen, find_width, split_table
from vitrun.runtime.outputs import check_replaceable, write_output

DEFAULT_FIELDS = {"positions": "learned", "positions_at": "stem"}  # of a published number that does not name them
MAX_NOTES = 5  # notes on runs that are near a published number


@dataclass(frozen=True)
class PublishedMatch:
    """Published number of the same thing as a cell of our runs, and in what the two differ nonetheless."""

    number: PaperNumber
    differences: tuple[str, ...]  # as in "res 224, not 384"


Pair = tuple[Cell, list[PublishedMatch]]


def execute(recipe: recipes.Compare, screen: Screen) -> dict[str, Any]:
    """Print the table, and write it to ``save`` if that is given; return what its JSON has."""
    paper = papers.load_table(recipe.paper)
    commands = recipe.commands or paper.commands
    rows, columns = recipe.rows or paper.rows, recipe.columns or paper.columns
    for name in (*rows, *columns):
        check_field_name(name, paper)
    runs = results.load_finished_runs(recipe.runs, commands, screen.warn, repeats=bool(recipe.commands))
    check_values(recipe.values, runs)
    if not runs and not paper.numbers:
        raise UserError(f"No finished {' or '.join(commands)} run in {recipe.runs.absolute()}.", ExitCode.DATA)
    values = (*recipe.values, *{number.metric for number in paper.numbers} - {*recipe.values})
    cells = results.tabulate(runs, rows, columns, values)
    cells += results.vtab_means(cells, (*rows, *columns))
    pairs = [(cell, match_published(cell, paper)) for cell in cells]
    header, body = arrange_table(pairs, paper, rows, columns)
    screen.print(split_table(header, body, find_width()))
    for note in list_notes(pairs, paper):
        screen.log(note)
    if not runs:
        screen.log(f"There is no finished {' or '.join(commands)} run in {recipe.runs} yet.")
    content = describe_tables(pairs, paper)
    if recipe.save is not None:
        written = write_tables(recipe.save, [header, *body], content, recipe.force)
        screen.log(f"Written to {' and '.join(map(str, written))}")
    return content


def check_field_name(name: str, paper: PaperTable) -> None:
    """Raise UserError if no command has an option of that name and the published table no field."""
    commands = ("pretrain", "finetune", "fewshot", "eval")
    fields = [field for number in paper.numbers for field in number.fields]
    keys = [key for command in commands for key in options.list_options(command)]
    known = dict.fromkeys([*describe.FACT_NAMES, *fields, *keys])
    if name not in known:
        raise UserError(f"Unknown option {name!r} to compare by. {suggest(name, known)}")


def check_values(values: Sequence[str], runs: list[results.FinishedRun]) -> None:
    """Raise UserError if there are runs and none of them has one of the ``values``."""
    known = {name for run in runs for name in run.metrics}
    if known and not known & {*values}:
        raise UserError(f"The runs have no {values[0]!r}. {suggest(values[0], known)}", option="values")


def match_published(cell: Cell, paper: PaperTable) -> list[PublishedMatch]:
    """Return the published numbers that agree with a cell in all fields of ``paper.match``."""
    matches = []
    for number in paper.numbers:
        fields = number.fields
        agrees = all(cell.facts.get(key) == fields[key] for key in paper.match if key in fields and key != "metric")
        if agrees and number.percent and number.metric == cell.metric:
            named = DEFAULT_FIELDS | fields | res_of_whole_patches(fields)
            if cell.facts.get("view_of") and "view" not in fields:  # that of the weights is the published one
                named["view_of"] = "weights"
            expected = {key: value for key, value in named.items() if cell.facts.get(key) or key in fields}
            matches.append(PublishedMatch(number, tuple(list_differences(cell, expected))))
    return matches


def res_of_whole_patches(fields: dict[str, str]) -> dict[str, str]:
    """Return the resolution that whole patches fill: of H/14's 384 pixels 378 (the public code drops the rest)."""
    patch = re.search(r"/(\d+)$", fields.get("model", ""))
    return {"res": str(int(fields["res"]) // int(patch[1]) * int(patch[1]))} if patch and "res" in fields else {}


def list_differences(cell: Cell, expected: dict[str, str]) -> list[str]:
    """Return in which facts a cell is not as expected."""
    return [
        f"{key} {cell.facts[key] or 'unknown'}, not {value}"
        for key, value in expected.items()
        if key in cell.facts and cell.facts[key] != value
    ]


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
        ours[format_row_label(cell.row, cell.metric), heading] = format_cell(cell) + format_gaps(cell, matches)
    texts = ours | published
    row_labels = dict.fromkeys(row for row, _ in [*published, *ours])
    headings = dict.fromkeys(heading for _, heading in texts)
    body = [[row, *(texts.get((row, heading), "") for heading in headings)] for row in row_labels]
    return [", ".join(rows), *headings], body


def format_row_label(labels: tuple[str, ...], metric: str) -> str:
    """Return the label of a row, with the name of the metric unless that is top-1."""
    return join_labels(labels) + ("" if metric == "top1" else f" {metric}")


def format_column_heading(cell: Cell) -> str:
    """Return ``ours: L/16, ImageNet-21k``: the heading of a cell of our runs beside published ones."""
    return f"ours: {join_labels(cell.column)}" if any(cell.column) else "ours"


def join_labels(labels: tuple[str, ...]) -> str:
    """Return the labels that are not empty, joined."""
    return ", ".join(label for label in labels if label) or "-"


def format_cell(cell: Cell) -> str:
    """Return ``85.30 ± 0.02``: shares in percent, counts and other units as they are."""
    scale = 100 if cell.unit == "share" else 1
    if scale == 1 and cell.std is None and cell.mean == int(cell.mean):
        return f"{cell.mean:,.0f}"
    return f"{scale * cell.mean:.2f}" + (f" ± {scale * cell.std:.2f}" if cell.std is not None else "")


def format_number(number: PaperNumber) -> str:
    """Return a published number: accuracies with two digits, others as they are."""
    text = f"{number.value:.2f}" if number.percent else f"{number.value:,}"
    return text + (f" ± {number.std:.2f}" if number.std is not None else "")


def compute_gap(cell: Cell, number: PaperNumber) -> float:
    """Return the points by which our accuracy is above a published one."""
    return 100 * cell.mean - number.value


def format_gaps(cell: Cell, matches: list[PublishedMatch]) -> str:
    """Return `` (-0.39)``: the gap to each published number that differs in nothing."""
    gaps = [f"{compute_gap(cell, match.number):+.2f}" for match in matches if not match.differences]
    return f" ({', '.join(gaps)})" if gaps else ""


def list_notes(pairs: list[Pair], paper: PaperTable) -> list[str]:
    """Return what the numbers are, where they are from, what was matched, and why near runs have no gap."""
    notes = ["Top-1 in percent; ± is the standard deviation over seeds (few-shot: over draws)."]
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


def describe_tables(pairs: list[Pair], paper: PaperTable) -> dict[str, Any]:
    """Return our cells with their runs and gaps, and the published numbers, as JSON has them."""
    return {
        "paper": paper.name,
        "ours": [describe_cell(cell, matches) for cell, matches in pairs],
        "published": [asdict(number) for number in paper.numbers],
    }


def write_tables(save: Path, rows: list[list[str]], content: dict[str, Any], force: bool = False) -> list[Path]:
    """Write the table as CSV, and its ``content`` as JSON; if ``save`` ends in one of them, that alone.

    Return the files. Raise UserError if one exists, unless it is of an earlier table and ``force`` is set.
    """
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    texts = {".csv": text.getvalue(), ".json": json.dumps(content, indent=2, allow_nan=False)}
    own = {save: texts[save.suffix]} if save.suffix in texts else {}
    files = own or {save.with_name(f"{save.name}{suffix}"): one for suffix, one in texts.items()}
    for file in files:
        check_replaceable(file, "save", force)
    try:
        for file, one in files.items():
            write_output(file, partial(Path.write_text, data=one, encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot write there: {error.strerror}.", ExitCode.SPACE, "save", str(save)) from None
    return list(files)


def describe_cell(cell: Cell, matches: list[PublishedMatch]) -> dict[str, Any]:
    """Return a cell of our runs as a JSON object, with the published numbers of the same thing."""
    return {
        "row": join_labels(cell.row),
        "column": join_labels(cell.column),
        "value": cell.metric,
        "mean": cell.mean,
        "std": cell.std,
        "runs": cell.runs,
        "facts": cell.facts,
        "published": [
            asdict(match.number) | {"gap": compute_gap(cell, match.number), "differences": match.differences}
            for match in matches
        ],
    }
