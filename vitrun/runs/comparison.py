"""Finished runs side by side: a table for each data set, with the options in which its runs differ, and their cost."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrun.recipes.trees import format_value
from vitrun.runs.comparison_rows import LABELS, Blocks, Row, Table, row_order
from vitrun.runs.groups import RunGroup, group_runs, list_differences
from vitrun.runs.published import find_counterparts
from vitrun.runs.results import COMMANDS, FinishedRun, LeftOut, Reason, load_finished_runs
from vitrun.runs.suites import Tasks, make_suite_table, split_suites

COST_METRICS = ("seconds", "images_per_second", "waiting")
HIDDEN_OPTIONS = ("init", "res", "steps", "epochs", "examples")  # that the labels or the cost show
FIRST_OPTIONS = (  # in which runs are likely to differ on purpose, the rest follows in the order of the recipe
    "protocol", "objective.kind", "optim.kind", "optim.lr", "optim.weight_decay", "batch", "schedule", "warmup",
    "augment.randaugment", "augment.layers", "augment.magnitude", "augment.mixup", "augment.cutmix", "dropout", "loss",
    "smoothing", "ema", "clip",
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """All finished runs of a folder in tables, and the runs that are in none."""

    tables: tuple[Table, ...]
    left_out: tuple[LeftOut, ...]


def compare_runs(
    runs: Path, commands: Sequence[str] = (), only: Sequence[str] = (), values: Sequence[str] = ()
) -> Comparison:
    """Return the finished runs of a folder in tables by data set.

    Args:
        runs: The folder of all run folders.
        commands: Whose runs are compared; empty for all that can be.
        only: Patterns of names of runs, or parts of them; empty for all runs.
        values: Metrics that are compared; empty for the most important of each run.
    """
    finished, left_out = load_finished_runs(runs, commands or COMMANDS, only)
    comparison = tabulate_runs(finished, values)
    return Comparison(comparison.tables, (*left_out, *comparison.left_out))


def tabulate_runs(finished: Sequence[FinishedRun], values: Sequence[str] = ()) -> Comparison:
    """Return finished runs in tables by data set; those without one of the metrics ``values`` are left out."""
    blocks: Blocks = {}
    left_out: list[LeftOut] = []
    for group in group_runs(finished):
        metrics = choose_metrics(group.first, values)
        if metrics:
            family = "" if values else re.sub(r"\d+", "", metrics[0])
            blocks.setdefault((str(group.first.facts["data"]), family), []).append((group, metrics))
        else:
            known = ", ".join(name for name in group.first.metrics if name not in COST_METRICS)
            left_out += [LeftOut(name, Reason.METRIC, known) for name in group.names]
    suites, blocks = split_suites(blocks)
    tables = [make_table(data, block) for (data, _), block in blocks.items()]
    if suites:
        options = list_suite_options(suites)
        tables.append(make_suite_table(suites, options, option_order(options)))
    return Comparison(tuple(sorted(tables, key=table_order)), tuple(left_out))


def choose_metrics(run: FinishedRun, values: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics of a run that are compared: those of ``values``, or else the most important that it has."""
    if values:
        return tuple(name for name in values if name in run.metrics)
    shots = sorted((name for name in run.metrics if re.fullmatch(r"shot\d+", name)), key=lambda name: int(name[4:]))
    layers = [name for name in run.metrics if name == "last" or re.fullmatch(r"layer\d+", name)]
    means = [name for name in ("natural", "specialized", "structured", "mean19", "mean") if name in run.metrics]
    if "top1" in run.metrics:
        return ("top1", "top1_dedup") if "top1_dedup" in run.metrics else ("top1",)
    if "AP" in run.metrics:
        return tuple(name for name in ("AP", "AP50", "AP75") if name in run.metrics)
    recalls = [f"{kind}_recall{k}" for k in (1, 5) for kind in ("text", "image")]
    retrieval = [name for name in recalls if name in run.metrics]
    masked = [name for name in ("colour_accuracy", "masked_loss") if name in run.metrics]
    others = [name for name in run.metrics if run.metrics[name].unit == "share" and name not in COST_METRICS]
    return tuple(shots or layers or means or retrieval or masked or others[:4])


def table_order(table: Table) -> tuple[Any, ...]:
    """Return what tables are sorted by: data sets of pretraining first, then by name; few-shot after fine-tuning."""
    first = min(COMMANDS.index(row.labels["command"]) for row in table.rows)
    return first > 0, table.data, first, table.metrics


def make_table(data: str, block: Sequence[tuple[RunGroup, tuple[str, ...]]]) -> Table:
    """Return the table of groups of runs on one data set, each with its metrics."""
    metrics = list(dict.fromkeys(name for _, group_metrics in block for name in group_metrics))
    metrics.sort(key=lambda name: int(name[4:]) if re.fullmatch(r"shot\d+", name) else 0)
    groups = [group for group, _ in block]
    options = list_table_options(groups)
    rows = [make_row(group, metrics, values) for group, values in zip(groups, options)]
    differing = tuple(sorted({name for values in options for name in values}, key=option_order(options)))
    return Table(data, tuple(metrics), differing, tuple(sorted(rows, key=row_order(metrics))))


def make_row(group: RunGroup, metrics: Sequence[str], options: dict[str, str]) -> Row:
    """Return the row of a group of runs."""
    facts = group.first.facts
    own = {name: group.metrics[name] for name in metrics if name in group.metrics}
    published = {name: matches for name in own if (matches := find_counterparts(facts, name))}
    labels = {name: facts[name] or "" for name in LABELS}
    return Row(group.names, labels, options, own, group.cost, published, facts)


def option_order(options: Sequence[dict[str, str]]) -> Any:
    """Return the key that sorts options: those of FIRST_OPTIONS, then the rest in the order of the recipes."""
    names = dict.fromkeys([*FIRST_OPTIONS, *(name for values in options for name in values)])
    return {name: place for place, name in enumerate(names)}.__getitem__


def list_table_options(groups: Sequence[RunGroup]) -> list[dict[str, str]]:
    """Return for each group the options in which runs of the same command differ.

    Runs that differ only in the run that their weights come from have the first option in which those differ, as in
    ``init.seed``.
    """
    options: list[dict[str, str]] = [{} for _ in groups]
    for command in dict.fromkeys(group.first.command for group in groups):
        rows = [row for row, group in enumerate(groups) if group.first.command == command]
        for name in list_shown_differences([groups[row].first for row in rows]):
            for row in rows:
                if name in groups[row].first.computed:
                    options[row][name] = format_value(groups[row].first.computed[name])
    for rows in group_equals(
        (*(group.first.label(name) for name in LABELS), *sorted(values.items()))
        for group, values in zip(groups, options)
    ):
        add_source_options([groups[row].first for row in rows], [options[row] for row in rows])
    return options


def list_suite_options(suites: Sequence[Tasks]) -> list[dict[str, str]]:
    """Return for each suite the options in which suites differ, but for those of their tasks' data."""
    firsts = [next(iter(tasks.values())) for tasks in suites]
    images = {name for group in firsts for name in group.first.images}
    return [
        {name: value for name, value in options.items() if name not in images and not name.startswith("data.")}
        for options in list_table_options(firsts)
    ]


def list_shown_differences(runs: Sequence[FinishedRun]) -> list[str]:
    """Return the options in which runs differ, but for those that follow from their labels or cost."""
    models = list(group_equals((run.facts["model"],) for run in runs))
    of_one_model = {
        name for rows in models for name in list_differences([runs[row].computed for row in rows]) if "model." in name
    }
    return [
        name
        for name in list_differences([run.computed for run in runs])
        if name not in HIDDEN_OPTIONS and (not name.startswith("model.") or name in of_one_model)
    ]


def add_source_options(runs: Sequence[FinishedRun], options: Sequence[dict[str, str]]) -> None:
    """Add to the ``options`` of runs that differ in their weights those in which these do, until they are distinct."""
    inits = {run.options.get("init") for run in runs}
    if len(inits) == 1:
        return
    sources = [run.source_options for run in runs]
    added: list[str] = []
    parts = 1  # of the runs, that the added options tell apart
    for name in (name for name in list_differences(sources) if not name.endswith("init")):
        more = len(group_equals(tuple(str(source.get(key)) for key in (*added, name)) for source in sources))
        if parts < more:
            added.append(name)
            parts = more
    for run, values, source in zip(runs, options, sources):
        values.update({name: format_value(source[name]) for name in added if name in source})
        if parts < len(inits):
            values["init"] = str(run.options.get("init") or "")


def group_equals(keys: Iterable[tuple[Any, ...]]) -> list[list[int]]:
    """Return the places of equal keys."""
    places: dict[tuple[Any, ...], list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return list(places.values())
