"""``vitrun compare``: finished runs beside published numbers."""

import csv
import json
import re
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path

from vitrun import papers, recipes
from vitrun.errors import ExitCode, UserError, suggest
from vitrun.papers import PaperNumber, PaperTable
from vitrun.recipes import options
from vitrun.runs import describe, results
from vitrun.runs.results import Cell
from vitrun.runtime.console import Screen, format_table
from vitrun.runtime.files import write_text_atomic

DEFAULT_FIELDS = {"positions": "learned", "positions_at": "stem"}  # what a number is of that does not name them
MAX_NOTES = 5  # sentences on runs that are near a number


@dataclass(frozen=True)
class PublishedMatch:
    """A published number of what a cell of ours is of too, and the fields in which they differ all the same."""

    number: PaperNumber
    differences: tuple[str, ...]  # sentences


def execute(recipe: recipes.Compare, screen: Screen) -> None:
    """Print the table, and write it as ``save.csv`` and ``save.json``."""
    paper = papers.load_table(recipe.paper)
    commands, rows, columns = (
        recipe.commands or paper.commands,
        recipe.rows or paper.rows,
        recipe.columns or paper.columns,
    )
    for name in (*rows, *columns):
        check_field_name(name, paper)
    found = results.load_finished_runs(recipe.runs, commands, screen.warn, repeats=bool(recipe.commands))
    known = {name for run in found for name in run.metrics}
    if known and not known & {*recipe.values}:
        raise UserError(f"The runs have no {recipe.values[0]!r}. {suggest(recipe.values[0], known)}", option="values")
    if not found and not paper.numbers:
        raise UserError(f"No finished {' or '.join(commands)} run in {recipe.runs.absolute()}.", ExitCode.DATA)
    values = (*recipe.values, *{number.metric for number in paper.numbers} - {*recipe.values})
    cells = results.tabulate(found, rows, columns, values)
    cells += results.vtab_means(cells, (*rows, *columns))
    pairs = [(cell, match_published(cell, paper)) for cell in cells]
    header, body = arrange_table(pairs, paper, rows, columns)
    screen.print(format_table(header, body))
    for sentence in list_notes(pairs, paper):
        screen.log(sentence)
    if not found:
        screen.log(f"There is no finished {' or '.join(commands)} run in {recipe.runs} yet.")
    write_tables(recipe.save, header, body, pairs, paper)
    screen.log(f"Written to {recipe.save}.csv and {recipe.save}.json")


def check_field_name(name: str, paper: PaperTable) -> None:
    """A UserError where no command has an option of that name, and the published table no field."""
    keys = dict.fromkeys(
        key for command in ("pretrain", "finetune", "fewshot", "eval") for key in options.list_options(command)
    )
    known = dict.fromkeys(
        [*describe.FACT_NAMES, *(field for number in paper.numbers for field in number.fields), *keys]
    )
    if name not in known:
        raise UserError(f"Unknown option {name!r} to compare by. {suggest(name, known)}")


def match_published(cell: Cell, paper: PaperTable) -> list[PublishedMatch]:
    """The published numbers of what a cell is of, by the table's own list of what that means."""
    found = []
    for number in paper.numbers:
        fields = number.fields
        same = all(cell.facts.get(key) == fields[key] for key in paper.match if key in fields and key != "metric")
        if same and number.percent and number.metric == cell.metric:
            named = DEFAULT_FIELDS | fields | res_of_whole_patches(fields)
            expected = {key: value for key, value in named.items() if cell.facts.get(key) or key in fields}
            found.append(PublishedMatch(number, tuple(list_differences(cell, expected))))
    return found


def res_of_whole_patches(fields: dict[str, str]) -> dict[str, str]:
    """The resolution that a ViT's patches fill: H/14's 384 pixels are 378, the rest is left out (the public code)."""
    patch = re.search(r"/(\d+)$", fields.get("model", ""))
    return {"res": str(int(fields["res"]) // int(patch[1]) * int(patch[1]))} if patch and "res" in fields else {}


def list_differences(cell: Cell, expected: dict[str, str]) -> list[str]:
    """What of a cell is not as expected, among the facts that a run can have."""
    return [
        f"{key} {cell.facts[key] or 'unknown'}, not {value}"
        for key, value in expected.items()
        if key in cell.facts and cell.facts[key] != value
    ]


def arrange_table(
    pairs: list[tuple[Cell, list[PublishedMatch]]], paper: PaperTable, rows: tuple[str, ...], columns: tuple[str, ...]
) -> tuple[list[str], list[list[str]]]:
    """The header and the rows: published rows first, our columns before the published ones."""
    theirs, ours = {}, {}
    for number in paper.numbers:
        row = tuple(number.fields.get(name, "") for name in rows)
        column = tuple(number.fields.get(name, "") for name in columns)
        theirs[format_row_label(row, number.metric), join_labels(column)] = format_number(number)
    for cell, beside in pairs:
        column = format_column_heading(cell) if paper.numbers else join_labels(cell.column)
        ours[format_row_label(cell.row, cell.metric), column] = format_cell(cell) + format_gaps(cell, beside)
    texts = ours | theirs
    lines = dict.fromkeys(row for row, _ in [*theirs, *ours])
    heads = dict.fromkeys(column for _, column in texts)
    return [", ".join(rows), *heads], [[row, *(texts.get((row, column), "") for column in heads)] for row in lines]


def format_row_label(labels: tuple[str, ...], value: str) -> str:
    """What a row is called; top-1 needs no name."""
    return join_labels(labels) + ("" if value == "top1" else f" {value}")


def format_column_heading(cell: Cell) -> str:
    """``ours: L/16, ImageNet-21k``: the column of a cell of ours beside published ones."""
    return f"ours: {join_labels(cell.column)}" if any(cell.column) else "ours"


def join_labels(labels: tuple[str, ...]) -> str:
    """The labels that there are."""
    return ", ".join(label for label in labels if label) or "-"


def format_cell(cell: Cell) -> str:
    """``85.30 ± 0.02``: accuracies and other shares in percent, what is counted or measured as it is."""
    scale = 100 if cell.unit == "share" else 1
    if scale == 1 and cell.std is None and cell.mean == int(cell.mean):
        return f"{cell.mean:,.0f}"
    return f"{scale * cell.mean:.2f}" + (f" ± {scale * cell.std:.2f}" if cell.std is not None else "")


def format_number(number: PaperNumber) -> str:
    """A published number: accuracies with two digits, others as they are."""
    text = f"{number.value:.2f}" if number.percent else f"{number.value:,}"
    return text + (f" ± {number.std:.2f}" if number.std is not None else "")


def compute_gap(cell: Cell, number: PaperNumber) -> float:
    """Points by which ours is above a published number."""
    return 100 * cell.mean - number.value


def format_gaps(cell: Cell, beside: list[PublishedMatch]) -> str:
    """``(-0.39)``: the gap to each published number of the same thing, done in the same way."""
    alike = [f"{compute_gap(cell, pair.number):+.2f}" for pair in beside if not pair.differences]
    return f" ({', '.join(alike)})" if alike else ""


def list_notes(pairs: list[tuple[Cell, list[PublishedMatch]]], paper: PaperTable) -> list[str]:
    """What the table's numbers are, where they are from, and what was matched."""
    said = ["Top-1 in percent; ± is the deviation over seeds (few-shot: over draws)."]
    if not paper.numbers:
        return said
    sources = dict.fromkeys(number.source for number in paper.numbers)
    said.append(f"{paper.name}: {paper.title}. From {'; '.join(sources)}.")
    too = dict.fromkeys(k for n in paper.numbers for k in n.fields if k in describe.FACT_NAMES and k not in paper.match)
    also = f", and where a number names it of its {', '.join(too)}" if too else ""
    if any(not pair.differences for _, beside in pairs for pair in beside):
        said.append(
            f"In brackets: points above (+) or below (-) the published number of the same {', '.join(paper.match)}"
            f"{also}. Nothing else is matched."
        )
    near_ones = {
        f"No gap for {join_labels(cell.row)}, {format_column_heading(cell)}: {'; '.join(pair.differences)}.": None
        for cell, beside in pairs
        for pair in beside
        if pair.differences and all(other.differences for other in beside)
    }
    more = (
        [f"Nor for {len(near_ones) - MAX_NOTES} more: the .json file says why."] if len(near_ones) > MAX_NOTES else []
    )
    return [*said, *list(near_ones)[:MAX_NOTES], *more]


def write_tables(
    save: Path,
    header: list[str],
    rows: list[list[str]],
    pairs: list[tuple[Cell, list[PublishedMatch]]],
    paper: PaperTable,
) -> None:
    """The table as CSV; as JSON our cells with their runs and gaps, and the published numbers with their sources."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    found = {
        "paper": paper.name,
        "ours": [
            {
                "row": join_labels(cell.row),
                "column": join_labels(cell.column),
                "value": cell.metric,
                "mean": cell.mean,
                "std": cell.std,
                "runs": cell.runs,
                "facts": cell.facts,
                "published": [
                    asdict(pair.number) | {"gap": compute_gap(cell, pair.number), "differences": pair.differences}
                    for pair in beside
                ],
            }
            for cell, beside in pairs
        ],
        "published": [asdict(number) for number in paper.numbers],
    }
    try:
        write_text_atomic(save.with_name(f"{save.name}.csv"), text.getvalue())
        write_text_atomic(save.with_name(f"{save.name}.json"), json.dumps(found, indent=2))
    except OSError as error:
        raise UserError(f"save={save}: cannot write there: {error.strerror}.", ExitCode.SPACE) from None
