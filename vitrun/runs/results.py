"""Metrics of finished runs in cells of a table, averaged over seeds and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from vitrun import recipes
from vitrun.errors import UserError
from vitrun.papers import names
from vitrun.recipes import RECIPE_FILE, trees
from vitrun.runs.content import drop_places
from vitrun.runs.describe import describe_run
from vitrun.runs.lookup import load_saved_recipe
from vitrun.runs.metrics import Metric, read_metrics
from vitrun.runs.run_files import find_finished_runs, load_about, load_recipe, load_result

MAX_NUMBER = 1e18  # of a metric or a count in a result


@dataclass(frozen=True)
class FinishedRun:
    """Finished run: the options of its recipe, its metrics, and what it is of in the terms of papers."""

    name: str
    command: str
    options: dict[str, Any]
    metrics: dict[str, Metric]
    facts: dict[str, str | None]
    images: dict[str, str]  # fingerprints of the images it was trained and tested on

    @cached_property
    def computed(self) -> dict[str, Any]:
        """Return the options without the places where files lie."""
        return drop_places(self.options)

    def label(self, name: str) -> str:
        """Return a fact, a fingerprint, or an option as it is typed; empty if the run has none of that name."""
        if name in self.images:
            return self.images[name]
        if name in self.facts:
            return self.facts[name] or ""
        return (
            trees.format_value(trees.get_value(self.options, name)) if name in trees.iterate_keys(self.options) else ""
        )


@dataclass(frozen=True)
class Cell:
    """Metric of runs that differ in the seed alone."""

    row: tuple[str, ...]
    column: tuple[str, ...]
    metric: str  # its name in a result
    unit: str
    by_seed: dict[Any, float]
    std: float | None
    runs: tuple[str, ...]
    facts: dict[str, str | None]
    setting: str  # how they were trained, whatever the data and the values that a grid may choose

    @property
    def mean(self) -> float:
        """Return the mean over the seeds."""
        return mean(self.by_seed.values())


def load_finished_runs(
    runs: Path, commands: tuple[str, ...], warn: Callable[[str], None], repeats: bool = True
) -> list[FinishedRun]:
    """Return the finished runs of ``commands`` that have a result of their own.

    That leaves out the trials of a grid, and suites and searches, whose tasks and final runs are counted instead; and,
    unless ``repeats``, evaluations of a fine-tuning run on the data that it has tested itself. Warn of damaged runs.
    """
    loaded = []
    for folder in find_finished_runs(runs):
        try:
            loaded.append(load_finished_run(folder, commands, repeats))
        except UserError as error:
            warn(f"left out: {folder.name}: {error}")
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
            reason = f"{type(error).__name__} {error}"
            warn(f"left out: {folder.name}: its {RECIPE_FILE} is of another vitrun, or written by hand ({reason})")
    return [run for run in loaded if run]


def load_finished_run(folder: Path, commands: tuple[str, ...], repeats: bool) -> FinishedRun | None:
    """Return the run in a folder; None if it is not of ``commands``, or its result is not its own."""
    options, runs = load_recipe(folder), folder.parent
    command = options["command"]
    if command not in commands or command == "finetune" and has_no_own_result(options):
        return None
    source = load_saved_recipe(options["init"], runs) if command == "eval" else None
    if not repeats and source is not None and is_same_data(runs / options["init"], source, folder, options):
        return None
    result = load_result(folder) or {}
    metrics = read_metrics(result)
    check_numbers(metrics)
    about = load_about(folder)
    images = {key: value for key, value in about.items() if key.endswith("_data")}
    if "computing" in about:  # what precision=auto meant there
        options["precision"] = about["computing"]["precision"]
    facts = describe_run(command, options, runs) | {"view_of": (result.get("view") or {}).get("source")}
    return FinishedRun(folder.name, command, options, metrics, facts, images)


def is_same_data(run: Path, options: dict[str, Any], other: Path, other_options: dict[str, Any]) -> bool:
    """Return whether two runs tested on the same images, wherever they lie, read with the same options."""
    one, two = (drop_places(some)["data"] for some in (options, other_options))
    return bool(one == two) and load_about(run).get("test_data") == load_about(other).get("test_data")


def check_numbers(metrics: dict[str, Metric]) -> None:
    """Raise UserError if a metric, or its deviation, is not a finite number."""
    for name, metric in metrics.items():
        for value in (metric.mean, *(value for value in (metric.std, metric.ci95) if value is not None)):
            if not isinstance(value, int | float) or not abs(value) < MAX_NUMBER:  # NaN is not less either
                raise UserError(f"its {name} is {str(value)[:20]}, which is not a number that can be compared")


def has_no_own_result(options: dict[str, Any]) -> bool:
    """Return whether a fine-tuning run is a trial of a grid, or is made of runs with folders of their own."""
    is_compound = options.get("grid") or options.get("seeds") or options["data"]["source"] == "suite"
    return bool(is_compound) or options.get("score") == "dev"


def tabulate(
    runs: list[FinishedRun], rows: tuple[str, ...], columns: tuple[str, ...], values: tuple[str, ...]
) -> list[Cell]:
    """Return the cells of a table of ``values`` (names of metrics), averaged over seeds alone.

    ``rows`` and ``columns`` are names of facts or options. If runs that differ in anything else would share a cell, the
    options in which they differ are added to the labels of the columns.
    """
    added: list[str] = []
    while True:
        groups: dict[tuple[tuple[str, ...], tuple[str, ...], str], list[FinishedRun]] = {}
        for run in runs:
            for value in (value for value in values if value in run.metrics):
                row = tuple(run.label(name) for name in rows)
                column = tuple(run.label(name) for name in columns) + tuple(f"{k}={run.label(k)}" for k in added)
                groups.setdefault((row, column, value), []).append(run)
        clash = next((k for group in groups.values() if (k := find_difference(group, [*rows, *columns, *added]))), None)
        if clash is None:
            return [average_seeds(row, column, metric, group) for (row, column, metric), group in groups.items()]
        added.append(clash)


def find_difference(group: list[FinishedRun], known: list[str]) -> str | None:
    """Return an option or fingerprint, but for the seed and ``known`` labels, in which runs of a group differ."""
    options = [dict(list_computed_options(run)) for run in group]
    all_names = dict.fromkeys(name for run_options in options for name in run_options)
    others = (name for name in all_names if name not in ("seed", *known))
    return next((name for name in others if len({str(run_options.get(name)) for run_options in options}) > 1), None)


def list_computed_options(run: FinishedRun) -> list[tuple[str, Any]]:
    """Return every option that changes what a run computes, but where files lie, and its fingerprints of images."""
    kind = recipes.RECIPES[run.command]
    ignored = kind.execution_options if issubclass(kind, recipes.RunRecipe) else ()
    if len(run.options.get("l2", ())) == 1:  # else l2 is chosen on images that are in none of the draws
        ignored = (*ignored, "shots")
    options = run.computed
    computed = [name for name in trees.iterate_keys(options) if name.split(".")[0] not in ignored]
    return [(name, trees.get_value(options, name)) for name in computed] + list(run.images.items())


def average_seeds(row: tuple[str, ...], column: tuple[str, ...], metric: str, group: list[FinishedRun]) -> Cell:
    """Return the mean of a group with its deviation over seeds; of a single run the deviation that it measured."""
    first = group[0]
    by_seed = {run.options.get("seed"): run.metrics[metric].mean for run in group}
    std = stdev(by_seed.values()) if len(by_seed) > 1 else first.metrics[metric].std
    run_names = tuple(run.name for run in group)
    unit = first.metrics[metric].unit
    return Cell(row, column, metric, unit, by_seed, std, run_names, first.facts, serialize_setting(first))


def serialize_setting(run: FinishedRun) -> str:
    """Return as text all options that runs on the tasks of one suite have in common."""
    free = ("data", "seed", "optim.lr", "optim.weight_decay", *run.images)
    protocol = run.options["data"].get("protocol")
    return repr((protocol, [pair for pair in list_computed_options(run) if not pair[0].startswith(free)]))


def vtab_means(cells: list[Cell], labels: tuple[str, ...]) -> list[Cell]:
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
    seeds = [seed for seed in first.by_seed if all(seed in task.by_seed for task in tasks)]
    by_seed = {seed: mean(task.by_seed[seed] for task in tasks) for seed in seeds} or {
        None: mean(task.mean for task in tasks)
    }
    facts = {
        name: value if all(task.facts[name] == value for task in tasks) else None for name, value in first.facts.items()
    }
    row, column = (
        tuple(label if part == first.facts["data"] else part for part in parts) for parts in (first.row, first.column)
    )
    std = stdev(by_seed.values()) if len(by_seed) > 1 else None
    runs = tuple(name for task in tasks for name in task.runs)
    return Cell(row, column, "top1", first.unit, by_seed, std, runs, facts | {"data": label}, first.setting)
