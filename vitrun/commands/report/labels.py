"""Names of runs in charts: what they differ in."""

from collections.abc import Iterable, Sequence

from vitrun.commands.comparison_tables import shorten_option
from vitrun.commands.report.gather import Material, ReportedRun
from vitrun.runs.comparison_rows import Row, Table


def label_runs(material: Material, runs: Iterable[ReportedRun]) -> dict[str, str]:
    """Return a short label for each run: what it differs in from the others, or its name."""
    rows = {name: (table, row) for table in material.comparison.tables for row in table.rows for name in row.runs}
    texts: dict[str, str] = {}
    names = [run.name for run in runs]
    labelled = [rows[name] for name in names if name in rows]
    for run in names:
        text = label_row(*rows[run], labelled) if run in rows else run
        seeds = len(rows[run][1].runs) > 1 if run in rows else False
        texts[run] = f"{text}, seed {material.by_name[run].options.get('seed')}" if seeds else text
    counts = [*texts.values()]
    return {run: text if counts.count(text) == 1 else f"{text} ({run[-8:]})" for run, text in texts.items()}


def label_row(table: Table, row: Row, others: Sequence[tuple[Table, Row]]) -> str:
    """Return what a row differs in from others: the model, its weights, options."""
    differing = [
        name for name in ("model", "upstream", "res", "command") if len({r.labels.get(name) for _, r in others}) > 1
    ]
    parts = [describe_label(name, row.labels.get(name, "")) for name in differing]
    parts += [f"{shorten_option(name, table)}={value}" for name, value in row.options.items()]
    return ", ".join(filter(None, parts)) or ", ".join(filter(None, (row.labels["model"], row.labels["upstream"])))


def describe_label(name: str, value: str) -> str:
    """Return a label with what it is where it does not say so."""
    if not value:
        return ""
    if name == "upstream":
        return "from scratch" if value == "scratch" else f"from {value}"
    units = {"res": " px", "tasks": " tasks"}
    return f"{value}{units[name]}" if name in units else f"{name}={value}" if "." in name else value
