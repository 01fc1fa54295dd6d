"""Runs on all tasks of VTAB-1k, or of one of its groups: a row for each setting in which the tasks were trained."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vitrun.papers import names
from vitrun.runs.comparison_rows import LABELS, Blocks, Row, Table, row_order
from vitrun.runs.cost import Cost
from vitrun.runs.groups import RunGroup
from vitrun.runs.pivot import average_averages, serialize_setting
from vitrun.runs.published import find_counterparts

VTAB = "VTAB-1k"  # the name of the table
Tasks = dict[str, RunGroup]  # of a suite, by their names in papers
MEAN = "mean"  # the metric of some of the tasks


def split_suites(blocks: Blocks) -> tuple[list[Tasks], Blocks]:
    """Return the tasks of each setting that was trained on all tasks of a group of VTAB, and the other blocks."""
    settings: dict[str, dict[str, list[RunGroup]]] = {}
    for (data, family), block in blocks.items():
        if family == "top" and data in names.VTAB_TASKS.values():
            for group, _ in block:
                settings.setdefault(serialize_setting(group.first), {}).setdefault(data, []).append(group)
    suites = [tasks for setting in settings.values() for tasks in split_rates(setting)]
    taken = {name for tasks in suites for group in tasks.values() for name in group.names}
    rest = {key: [pair for pair in block if pair[0].first.name not in taken] for key, block in blocks.items()}
    return suites, {key: block for key, block in rest.items() if block}


def split_rates(setting: Mapping[str, list[RunGroup]]) -> Iterator[Tasks]:
    """Yield the tasks of a setting; if one has several runs, those of each learning rate and weight decay."""
    by_rates: dict[tuple[str, ...], Tasks] = {}
    are_several = any(len(groups) > 1 for groups in setting.values())
    for task, groups in setting.items():
        for group in groups:
            rates = (group.first.label("optim.lr"), group.first.label("optim.weight_decay")) if are_several else ()
            by_rates.setdefault(rates, {})[task] = group
    for tasks in by_rates.values():
        if any(tasks.keys() >= set(members) for members in names.VTAB_GROUPS.values()):
            yield tasks


def make_suite_table(suites: Sequence[Tasks], options: Sequence[dict[str, str]], order: Any) -> Table:
    """Return the table of suites, each with the ``options`` in which they differ, which ``order`` sorts."""
    rows = [make_suite_row(tasks, values) for tasks, values in zip(suites, options)]
    every = (*names.VTAB_GROUPS, MEAN, names.VTAB_MEAN)
    metrics = tuple(name for name in every if any(name in row.metrics for row in rows))
    differing = tuple(sorted({name for values in options for name in values}, key=order))
    return Table(VTAB, metrics, differing, tuple(sorted(rows, key=row_order(metrics[::-1]))))


def make_suite_row(tasks: Tasks, options: dict[str, str]) -> Row:
    """Return the row of a setting: the means of the groups of tasks that are complete, and of all tasks."""
    groups = {name: members for name, members in names.VTAB_GROUPS.items() if tasks.keys() >= set(members)}
    every = names.VTAB_MEAN if len(tasks) == len(names.VTAB_TASKS) else MEAN
    metrics = {
        name: average_averages([tasks[task].metrics["top1"] for task in members])
        for name, members in (groups | {every: list(tasks)}).items()
    }
    firsts = [group.first for group in tasks.values()]
    facts = {
        name: value if all(run.facts[name] == value for run in firsts) else None
        for name, value in firsts[0].facts.items()
    }
    matches = {name: find_counterparts(facts | {"data": name}, "top1") for name in metrics}
    published = {name: matches[name] for name in metrics if matches[name]}
    labels = {name: facts[name] or "" for name in LABELS} | {"tasks": f"{len(tasks)}/{len(names.VTAB_TASKS)}"}
    runs = tuple(name for group in tasks.values() for name in group.names)
    return Row(runs, labels, options, metrics, Cost.total(group.cost for group in tasks.values()), published, facts)
