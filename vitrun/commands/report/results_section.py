"""Section of a report with the tables of ``vitrun compare``."""

from collections.abc import Iterator, Sequence

from vitrun.commands.comparison_tables import (
    COSTS,
    HEADINGS,
    describe_metrics,
    format_average,
    format_metric,
    shorten_names,
    shorten_option,
)
from vitrun.commands.report.gather import Material
from vitrun.commands.report.labels import describe_label
from vitrun.plots.page import Block, Cell, Column, Note, Section, Table, Value
from vitrun.plots.page import Row as PageRow
from vitrun.runs import comparison_rows
from vitrun.runs.comparison_rows import Row
from vitrun.runs.groups import Average
from vitrun.runs.metrics import Metric, read_metrics
from vitrun.runs.published import PublishedMatch, compute_gap
from vitrun.runtime.text_format import format_duration

COST_COLUMNS = {
    "steps": Column("steps", numeric=True),
    "images": Column("images", numeric=True),
    "exaflop": Column("compute", "exaFLOP", numeric=True),
    "seconds": Column("time", numeric=True),
}
LABELS = ("command", "model", "upstream", "res", "tasks")


def list_results(material: Material) -> Section:
    """Return the section with a table for each data set and kind of metrics, the best runs first."""
    tables = material.comparison.tables
    notes: list[Block] = []
    averages = [average for table in tables for row in table.rows for average in row.metrics.values()]
    if any(average.unit == "share" for average in averages):
        notes.append(Note(describe_metrics(name for table in tables for name in table.metrics)))
    matches = [match for table in tables for row in table.rows for some in row.published.values() for match in some]
    if matches:
        sources = dict.fromkeys(match.number.source for match in matches)
        notes.append(
            Note(
                "Published numbers are of the same model, data, pretraining and protocol; the gap is in points, "
                f"positive where the run is better. From {'; '.join(sources)}."
            )
        )
    return Section("Results", [*notes, *(make_table(material, table) for table in tables)])


def describe_result(material: Material) -> Section:
    """Return the section with every metric of the run that the report is about."""
    metrics = read_metrics(material.by_name[material.subject].result)
    rows = [
        PageRow([name, *list_metric_cells(metric), "%" if metric.unit == "share" else metric.unit])
        for name, metric in sorted(metrics.items(), key=lambda item: item[1].unit != "share")
    ]
    columns = [Column("metric"), Column("value", numeric=True), Column("standard deviation", numeric=True)]
    columns += [Column("95 % interval", numeric=True), Column("unit")]
    shown = [n for n in range(len(columns)) if any(row.values[n] not in (None, "") for row in rows)]
    rows = [PageRow([row.values[number] for number in shown]) for row in rows]
    table = Table([columns[number] for number in shown], rows, "Every number of its result")
    return Section("Result", [table] if rows else [])


def list_metric_cells(metric: Metric) -> Iterator[Cell | None]:
    """Yield the cells of a metric's mean, deviation and half interval."""
    scale = 100 if metric.unit == "share" else 1
    for value, sign in ((metric.mean, ""), (metric.std, "± "), (metric.ci95, "± ")):
        text = f"{value:,}" if isinstance(value, int) else f"{scale * (value or 0):,.4g}"
        yield None if value is None else Cell(sign + text, scale * value)


def make_table(material: Material, table: comparison_rows.Table) -> Table:
    """Return a table of ``compare`` as one of a page: what all rows share is in its caption."""
    columns = [
        column for column in list_columns(material, table) if any(value not in (None, "") for value in column[1])
    ]
    shared = [name for name in LABELS if len(table.rows) > 1 and len({r.labels.get(name) for r in table.rows}) == 1]
    columns = [column for column in columns if column[0].name not in {HEADINGS.get(name, name) for name in shared}]
    rows = [
        PageRow([values[number] for _, values in columns], "\n".join(row.runs)) for number, row in enumerate(table.rows)
    ]
    facts = [describe_label(name, table.rows[0].labels.get(name, "")) for name in shared]
    title = f"{table.data}: {', '.join(map(format_metric, table.metrics))}"
    caption = " · ".join(filter(None, [title, ", ".join(filter(None, facts))]))
    return Table([column for column, _ in columns], rows, caption)


def list_columns(material: Material, table: comparison_rows.Table) -> Iterator[tuple[Column, list[Value]]]:
    """Yield the columns of a table, each with its cells."""
    rows = table.rows
    ids = shorten_names([row.runs[0] for row in rows])
    yield Column("run"), [describe_runs(material, row.runs, name) for row, name in zip(rows, ids)]
    for name in LABELS:
        yield Column(HEADINGS.get(name, name)), [row.labels.get(name, "") for row in rows]
    for name in table.options:
        yield Column(shorten_option(name, table), about=name), [row.options.get(name, "") for row in rows]
    if any(len(row.runs) > 1 for row in rows):
        yield Column("seeds", numeric=True), [len(row.runs) for row in rows]
    for name in table.metrics:
        averages = [row.metrics.get(name) for row in rows]
        is_share = any(average and average.unit == "share" for average in averages)
        yield Column(format_metric(name), "%" if is_share else "", numeric=True), [*map(format_cell, averages)]
    if any(row.published for row in rows):
        yield from list_published_columns(rows)
    for name in COSTS:
        yield COST_COLUMNS[name], [format_cost(name, getattr(row.cost, name)) for row in rows]


def describe_runs(material: Material, runs: Sequence[str], name: str) -> Cell:
    """Return the short name of the first run, and how many more there are."""
    return Cell(name + (f" +{len(runs) - 1}" if len(runs) > 1 else ""), link=material.anchors.get(runs[0], ""))


def format_cell(average: Average | None) -> Cell | None:
    """Return the cell of a metric."""
    return None if average is None else Cell(format_average(average), average.mean)


def list_published_columns(rows: Sequence[Row]) -> Iterator[tuple[Column, list[Value]]]:
    """Yield the columns of the published number of the same thing, and of the gap to it."""
    published: list[Value] = []
    gaps: list[Value] = []
    for row in rows:
        pair = find_published(row)
        if pair is None:
            published.append(None)
            gaps.append(None)
            continue
        average, match = pair
        std = "" if match.number.std is None else f" ± {match.number.std:.2f}"
        published.append(Cell(f"{match.number.value:.2f}{std} ({match.table})", match.number.value))
        gap = compute_gap(average, match.number)
        gaps.append(Cell(f"{gap:+.2f}", gap))
    yield Column("published", "%", numeric=True), published
    yield Column("gap", "points", numeric=True), gaps


def find_published(row: Row) -> tuple[Average, PublishedMatch] | None:
    """Return the first metric of a row that has been published, and the number."""
    return next(((row.metrics[name], matches[0]) for name, matches in row.published.items() if matches), None)


def format_cost(name: str, value: float | None) -> Cell | None:
    """Return the cell of a cost."""
    if value is None:
        return None
    texts = {"exaflop": f"{value:.3g}", "seconds": format_duration(value)}
    return Cell(texts.get(name, f"{value:,.0f}"), value)
