"""Table of metrics by any options of the runs, with the means of VTAB's groups of tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from vitrun.papers import names
from vitrun.runs.groups import Average, RunGroup, group_runs, list_differences
from vitrun.runs.results import FinishedRun


@dataclass(frozen=True)
class Cell:
    """Metric of runs that differ in the seed alone, at its place in a table."""

    row: tuple[str, ...]
    column: tuple[str, ...]
    metric: str  # its name in a result
    average: Average
    runs: tuple[str, ...]
    facts: dict[str, str | None]
    setting: str  # how they were trained, whatever the data and the values that a grid may choose


def tabulate(
    runs: Sequence[FinishedRun], rows: tuple[str, ...], columns: tuple[str, ...], values: tuple[str, ...]
) -> list[Cell]:
    """Return the cells of a table of ``values`` (names of metrics), averaged over seeds alone.

    ``rows`` and ``columns`` are names of facts or options. If runs that differ in anything else would share a cell, the
    options in which they differ are added to the labels of the columns.
    """
    groups = group_runs(runs, by_seed="seed" in (*rows, *columns))
    added: list[str] = []
    while True:
        places: dict[tuple[tuple[str, ...], tuple[str, ...], str], list[RunGroup]] = {}
        for group in groups:
            row = tuple(group.first.label(name) for name in rows)
            extra = tuple(f"{name}={label}" for name in added if (label := group.first.label(name)))
            column = tuple(group.first.label(name) for name in columns) + extra
            for value in (value for value in values if value in group.metrics):
                places.setdefault((row, column, value), []).append(group)
        known = {"seed", *rows, *columns, *added}
        clashes = (list_differences([g.first.computed for g in place]) for place in places.values() if len(place) > 1)
        clash = next((name for differing in clashes for name in differing if name not in known), None)
        if clash is None:
            return [make_cell(*place, merge_groups(group)) for place, group in places.items()]
        added.append(clash)


def merge_groups(groups: list[RunGroup]) -> RunGroup:
    """Return the one group of a cell; if its labels hide a difference, as of a path, the runs of all of them."""
    return groups[0] if len(groups) == 1 else RunGroup(tuple(run for group in groups for run in group.runs))


def make_cell(row: tuple[str, ...], column: tuple[str, ...], metric: str, group: RunGroup) -> Cell:
    """Return the cell of a metric of a group."""
    names_with_metric = tuple(run.name for run in group.runs if metric in run.metrics)
    facts, setting = group.first.facts, serialize_setting(group.first)
    return Cell(row, column, metric, group.metrics[metric], names_with_metric, facts, setting)


def serialize_setting(run: FinishedRun) -> str:
    """Return as text all options that runs on the tasks of one suite have in common."""
    free = ("data", "seed", "optim.lr", "optim.weight_decay", *run.images)
    protocol = run.options["data"].get("protocol")
    return repr((run.command, protocol, [pair for pair in run.computed.items() if not pair[0].startswith(free)]))


def average_suites(cells: Sequence[Cell], labels: tuple[str, ...]) -> list[Cell]:
    """Return the means of VTAB's groups and of all its tasks, if ``data`` is among the ``labels`` of the table.

    Tasks that were trained in different settings have separate means. A group without all of its tasks has none; the
    mean of all has their number, as in ``VTAB (18/19)``.
    """
    if "data" not in labels:
        return []
    at = labels.index("data")
    columns: dict[tuple[str, ...], dict[str, Cell]] = {}
    for cell in cells:
        task = cell.facts["data"]
        if cell.metric == "top1" and task and task in names.VTAB_TASKS.values():
            texts = (*cell.row, *cell.column)
            columns.setdefault((cell.setting, *texts[:at], *texts[at + 1 :]), {})[task] = cell
    return [
        average_tasks(label, members) for tasks in columns.values() for label, members in group_tasks(tasks).items()
    ]


def group_tasks(tasks: dict[str, Cell]) -> dict[str, list[Cell]]:
    """Return the cells of each complete group of VTAB, and of all tasks, by the label of their mean."""
    groups = {
        group: [tasks[task] for task in members]
        for group, members in names.VTAB_GROUPS.items()
        if tasks.keys() >= set(members)
    }
    total = len(names.VTAB_TASKS)
    every = names.VTAB_MEAN if len(tasks) == total else f"VTAB ({len(tasks)}/{total})"
    return groups | {every: list(tasks.values())}


def average_tasks(label: str, tasks: list[Cell]) -> Cell:
    """Return the mean over tasks for each seed that all of them have; of the tasks' means if they share none."""
    first = tasks[0]
    facts = {
        name: value if all(task.facts[name] == value for task in tasks) else None for name, value in first.facts.items()
    }
    row, column = (
        tuple(label if part == first.facts["data"] else part for part in parts) for parts in (first.row, first.column)
    )
    runs = tuple(name for task in tasks for name in task.runs)
    average = average_averages([task.average for task in tasks])
    return Cell(row, column, "top1", average, runs, facts | {"data": label}, first.setting)


def average_averages(averages: Sequence[Average]) -> Average:
    """Return the mean over tasks, for each seed that all of them have; of the tasks' means if they share none."""
    seeds = [seed for seed in averages[0].by_seed if all(seed in average.by_seed for average in averages)]
    by_seed: dict[Any, float] = {seed: mean(average.by_seed[seed] for average in averages) for seed in seeds}
    by_seed = by_seed or {None: mean(average.mean for average in averages)}
    return Average(by_seed, stdev(by_seed.values()) if len(by_seed) > 1 else None, averages[0].unit)
