"""Runs on all tasks of VTAB-1k, or of one of its groups: a row for each setting in which the tasks were trained."""

from collections.abc import Iterator, Mapping

from vitrun.papers import names
from vitrun.runs.comparison_rows import LABELS, Blocks, Row, Table, row_order
from vitrun.runs.cost import Cost
from vitrun.runs.groups import RunGroup
from vitrun.runs.pivot import average_averages, serialize_setting
from vitrun.runs.published import find_counterparts

VTAB = "VTAB-1k"  # the name of the table
MEAN = "mean"  # the metric of some of the tasks


def split_suites(blocks: Blocks) -> tuple[list[Table], Blocks]:
    """Return the table of the settings that were trained on all tasks of a group of VTAB, and the other blocks."""
    settings: dict[str, dict[str, list[RunGroup]]] = {}
    for (data, family), block in blocks.items():
        if family == "top" and data in names.VTAB_TASKS.values():
            for group, _ in block:
                settings.setdefault(serialize_setting(group.first), {}).setdefault(data, []).append(group)
    rows = [row for tasks in settings.values() for row in make_suite_rows(tasks)]
    taken = {name for row in rows for name in row.runs}
    rest = {key: [pair for pair in block if pair[0].first.name not in taken] for key, block in blocks.items()}
    metrics = tuple(
        name for name in (*names.VTAB_GROUPS, MEAN, names.VTAB_MEAN) if any(name in r.metrics for r in rows)
    )
    table = Table(VTAB, metrics, (), tuple(sorted(rows, key=row_order(metrics[::-1]))))
    return [table] if rows else [], {key: block for key, block in rest.items() if block}


def make_suite_rows(setting: Mapping[str, list[RunGroup]]) -> Iterator[Row]:
    """Yield the rows of a setting: one; if a task has several runs, one for each learning rate and weight decay."""
    by_rates: dict[tuple[str, ...], dict[str, RunGroup]] = {}
    are_several = any(len(groups) > 1 for groups in setting.values())
    for task, groups in setting.items():
        for group in groups:
            rates = (group.first.label("optim.lr"), group.first.label("optim.weight_decay")) if are_several else ()
            by_rates.setdefault(rates, {})[task] = group
    for tasks in by_rates.values():
        if any(tasks.keys() >= set(members) for members in names.VTAB_GROUPS.values()):
            yield make_suite_row(tasks)


def make_suite_row(tasks: Mapping[str, RunGroup]) -> Row:
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
    return Row(runs, labels, {}, metrics, Cost.total(group.cost for group in tasks.values()), published, facts)
