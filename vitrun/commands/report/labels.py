"""Names of runs in charts: what they differ in."""

from collections import Counter
from collections.abc import Sequence

from vitrun.commands.comparison_tables import shorten_option
from vitrun.commands.report.gather import Material, ReportedRun
from vitrun.recipes.trees import format_value
from vitrun.runs.comparison_rows import Row, Table
from vitrun.runs.groups import list_differences

MAX_OPTIONS = 3  # in the label of a run that is in no table


def label_runs(material: Material, runs: Sequence[ReportedRun]) -> dict[str, str]:
    """Return a short label for each run: what it differs in from the others, or its name."""
    rows = {name: (table, row) for table in material.comparison.tables for row in table.rows for name in row.runs}
    labelled = [rows[run.name] for run in runs if run.name in rows]
    others = [run for run in runs if run.name not in rows]
    texts = label_others(others)
    for run in (run for run in runs if run.name in rows):
        seed = f", seed {run.options.get('seed')}" if len(rows[run.name][1].runs) > 1 else ""
        texts[run.name] = label_row(*rows[run.name], labelled) + seed
    counts = Counter(texts.values())
    return {run: text if counts[text] == 1 else f"{text} ({run[-8:]})" for run, text in texts.items()}


def label_others(runs: Sequence[ReportedRun]) -> dict[str, str]:
    """Return a label for each run that is in no table: its state and the options in which they differ."""
    differing = list_differences([run.computed for run in runs])[:MAX_OPTIONS]
    return {
        run.name: ", ".join(
            [run.state, *(f"{name}={format_value(run.computed[name])}" for name in differing if name in run.computed)]
        )
        for run in runs
    }


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
