"""Comparisons of finished runs as text of a given width, as CSV and as JSON."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vitrun.runs.comparison import Comparison
from vitrun.runs.comparison_rows import Row, Table
from vitrun.runs.groups import Average
from vitrun.runs.metrics import DETECTION_METRICS
from vitrun.runs.published import compute_gap
from vitrun.runtime.console import Screen
from vitrun.runtime.text_format import format_duration

HEADINGS = {"upstream": "weights", "top1": "top-1", "top1_dedup": "top-1 dedup", "VTAB (19)": "all 19"}
RUN_ID = re.compile(r".*-([0-9a-f]{8})")  # the name of a run: command, model, data and hash
COSTS = ("steps", "images", "exaflop", "seconds")
LABELS = ("command", "model", "upstream", "res", "tasks")  # of the rows, each a column of its own
MAX_HIDDEN = 8  # columns without room that are named
MAX_TEXT = 24  # characters of an option, or of the name of a run that has no hash


@dataclass(frozen=True)
class Column:
    """Column of a printed table."""

    heading: str
    cells: list[str]
    rank: int  # those of the lowest ranks have room first; 0 for what every table has
    is_text: bool = False

    @property
    def width(self) -> int:
        """Return the characters that it takes with the rule before it."""
        return max(map(len, [self.heading, *self.cells])) + 3


def print_table(screen: Screen, table: Table, top: int | None, with_published: bool, width: int) -> None:
    """Print the ``top`` rows of a table in columns that fit a width, and below it which found no room."""
    rows = table.rows[:top]
    constant = {name: value for name, value in rows[0].labels.items() if all(r.labels[name] == value for r in rows)}
    columns = list_columns(table, rows, constant, with_published)
    shown = fit_columns(columns, width)
    names = sum(column.is_text for column in shown)
    cells = [list(row) for row in zip(*(column.cells for column in shown))]
    header, title = [column.heading for column in shown], format_title(table, rows, constant)
    screen.print_table(header, cells, names, title)
    hidden = [column.heading for column in columns if not any(column is one for one in shown)]
    if hidden:
        some = ", ".join(hidden[:MAX_HIDDEN])
        more = f" and {len(hidden) - MAX_HIDDEN} more" if len(hidden) > MAX_HIDDEN else ""
        needed = 1 + sum(column.width for column in columns)
        screen.print(f"No room for {some}{more}: COLUMNS={needed} shows all, as save=NAME.csv and --json do.\n")


def format_title(table: Table, rows: Sequence[Row], constant: dict[str, str]) -> str:
    """Return ``CIFAR-10: finetune, L/16, from ImageNet-21k``: the data set, and what all rows share."""
    shared = [constant.get("command", ""), constant.get("model", "")]
    if upstream := constant.get("upstream"):
        shared.append("from scratch" if upstream == "scratch" else f"from {upstream}")
    if tasks := constant.get("tasks"):
        shared.append(f"{tasks} tasks")
    more = len(table.rows) - len(rows)
    best = f" (the best {len(rows)} of {len(table.rows)}: top=null shows all)" if more else ""
    return f"{table.data}: {', '.join(text for text in shared if text)}".removesuffix(": ") + best


def list_columns(table: Table, rows: Sequence[Row], constant: dict[str, str], with_published: bool) -> list[Column]:
    """Return all columns of a table."""
    ids = shorten_names([row.runs[0] for row in rows])
    firsts = [f"{len(row.runs)} runs" if "tasks" in row.labels else name for row, name in zip(rows, ids)]
    columns = [Column("run", firsts, 0, is_text=True)]
    for name in LABELS:
        if name in rows[0].labels and name not in constant:
            columns.append(Column(HEADINGS.get(name, name), [row.labels[name] for row in rows], 0, is_text=True))
    for number, name in enumerate(table.options):
        values = [shorten(row.options.get(name, "")) for row in rows]
        if len(set(values)) > 1 or len(rows) == len(table.rows):
            rank = 2 * number + 3 if number < 3 else 10 + number
            columns.append(Column(shorten_option(name, table), values, rank, is_text=True))
    if any(len(row.runs) > 1 for row in rows) and "tasks" not in rows[0].labels:
        columns.append(Column("seeds", [str(len(row.runs)) for row in rows], 0))
    for name in table.metrics:
        texts = [format_average(row.metrics[name]) if name in row.metrics else "" for row in rows]
        columns.append(Column(format_metric(name), texts, 0))
    if with_published and any(row.published for row in rows):
        columns += list_published_columns(rows)
    return columns + list_cost_columns(rows)


def list_published_columns(rows: Sequence[Row]) -> list[Column]:
    """Return the columns of the published number of the same thing, and of the gap to it in points."""
    published, gaps = [], []
    for row in rows:
        name, matches = next(iter(row.published.items()), ("", []))
        numbers = [match.number for match in matches]
        published.append(f"{numbers[0].value:.2f} ({matches[0].table})" if numbers else "")
        gaps.append(f"{compute_gap(row.metrics[name], numbers[0]):+.2f}" if numbers else "")
    return [Column("published", published, 2), Column("gap", gaps, 2)]


def list_cost_columns(rows: Sequence[Row]) -> list[Column]:
    """Return the columns of what a run cost, without those that are not known of any."""
    formats: dict[str, tuple[str, Callable[[float], str], int]] = {
        "steps": ("steps", lambda value: f"{value:,.0f}", 4),
        "images": ("images", format_count, 9),
        "exaflop": ("exaFLOP", lambda value: f"{value:.2g}", 8),
        "seconds": ("time", format_duration, 6),
    }
    columns = []
    for name, (heading, form, rank) in formats.items():
        values = [getattr(row.cost, name) for row in rows]
        if any(value is not None for value in values):
            columns.append(Column(heading, ["" if value is None else form(value) for value in values], rank))
    return columns


def fit_columns(columns: list[Column], width: int) -> list[Column]:
    """Return the columns of rank 0, and of the others, the lowest ranks first, those that fit into a width."""
    chosen: list[Column] = []
    for column in sorted(columns, key=lambda column: column.rank):
        if not column.rank or 1 + sum(one.width for one in (*chosen, column)) <= width:
            chosen.append(column)
    return [column for column in columns if any(column is one for one in chosen)]


def shorten_names(names: Sequence[str]) -> list[str]:
    """Return the hashes of the names of runs; a name that has none, or shares it with another, is cut to its end."""
    hashes = [match[1] if (match := RUN_ID.fullmatch(name)) else "" for name in names]
    return [code if code and hashes.count(code) == 1 else shorten(name) for name, code in zip(names, hashes)]


def shorten(text: str) -> str:
    """Return a text, of a long one the end."""
    return text if len(text) <= MAX_TEXT else f"…{text[1 - MAX_TEXT :]}"


def shorten_option(name: str, table: Table) -> str:
    """Return the last part of an option's name if no other column of the table has it: ``lr`` for ``optim.lr``."""
    last = name.removesuffix(".kind").rpartition(".")[2]
    others = [other.removesuffix(".kind").rpartition(".")[2] for other in table.options]
    return last if others.count(last) == 1 and last not in LABELS and not name.startswith("init.") else name


def format_metric(name: str) -> str:
    """Return the heading of a metric."""
    if shots := re.fullmatch(r"shot(\d+)", name):
        return f"{shots[1]} shot{'s' * (shots[1] != '1')}"
    return HEADINGS.get(name, name.removeprefix("VTAB "))


def format_average(average: Average) -> str:
    """Return ``85.30 ± 0.02``: shares in percent, counts and other units as they are."""
    scale = 100 if average.unit == "share" else 1
    if scale == 1 and average.std is None and average.mean == int(average.mean):
        return f"{average.mean:,.0f}"
    return f"{scale * average.mean:.2f}" + (f" ± {scale * average.std:.2f}" if average.std is not None else "")


def format_count(value: float) -> str:
    """Return ``20,736``, ``1.28M`` or ``2.1G``."""
    for size, unit in ((1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:,.0f}"


def list_notes(tables: Sequence[Table], with_published: bool) -> list[str]:
    """Return what the numbers mean."""
    rows = [row for table in tables for row in table.rows]
    units = {average.unit for row in rows for average in row.metrics.values()}
    notes = []
    if "share" in units:
        notes.append(describe_metrics(name for table in tables for name in table.metrics))
    if any(row.cost.exaflop for row in rows):
        notes.append(
            "Cost is that of training one run; exaFLOP has forward and backward pass, as in table 6 of the paper."
        )
    if with_published and any(row.published for row in rows):
        notes.append("published: the number of the same model, data, pretraining and protocol; gap: points above it.")
    return notes


def describe_metrics(names: Iterable[str]) -> str:
    """Return what metrics of these names are: accuracies, COCO's average precisions, or both."""
    is_ap = {name in DETECTION_METRICS for name in names}
    what = " and ".join(["Accuracy"] * (False in is_ap) + ["COCO's average precision (AP)"] * (True in is_ap))
    return f"{what} on test images in percent; ± is the standard deviation over seeds (few-shot: over draws)."


def describe_comparison(comparison: Comparison, with_published: bool) -> dict[str, Any]:
    """Return a comparison as a JSON object: each row with its runs, options, metrics and cost."""
    return {
        "ours": [describe_row(table, row, with_published) for table in comparison.tables for row in table.rows],
        "published": [],
    }


def describe_row(table: Table, row: Row, with_published: bool) -> dict[str, Any]:
    """Return a row as a JSON object."""
    metrics = {
        name: {"mean": average.mean, "std": average.std, "unit": average.unit, "by_seed": list_seeds(average)}
        for name, average in row.metrics.items()
    }
    published = [
        asdict(match.number) | {"table": match.table, "gap": compute_gap(row.metrics[name], match.number)}
        for name, matches in row.published.items()
        for match in matches
    ]
    return {
        "data": table.data,
        **row.labels,
        "options": row.options,
        "metrics": metrics,
        "cost": asdict(row.cost),
        "runs": row.runs,
        "facts": row.facts,
        **({"published": published} if with_published else {}),
    }


def list_seeds(average: Average) -> dict[str, float]:
    """Return the metric of each seed, by the seed as JSON keys are: text."""
    return {str(seed): value for seed, value in average.by_seed.items()}


def list_csv_rows(tables: Sequence[Table]) -> list[list[Any]]:
    """Return the rows of a CSV file with a header: one for each row of the tables, numbers as results have them."""
    rows = [describe_row(table, row, True) for table in tables for row in table.rows]
    labels = ["data", "command", "model", "upstream", "res", "tasks"]
    options = list(dict.fromkeys(name for row in rows for name in row["options"]))
    metrics = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    spread = [f"{name}{end}" for name in metrics for end in ("", "_std")]
    header = [*labels, *options, *spread, "published", "gap", *COSTS, "runs"]
    return [header, *(list_csv_cells(row, labels, options, metrics) for row in rows)]


def list_csv_cells(row: dict[str, Any], labels: list[str], options: list[str], metrics: list[str]) -> list[Any]:
    """Return the cells of a row."""
    averages = [row["metrics"].get(name, {}) for name in metrics]
    first: dict[str, Any] = next(iter(row["published"]), {})
    return [
        *(row.get(name, "") for name in labels),
        *(row["options"].get(name, "") for name in options),
        *(average.get(key) for average in averages for key in ("mean", "std")),
        first.get("value"),
        first.get("gap"),
        *(row["cost"][name] for name in COSTS),
        " ".join(row["runs"]),
    ]
