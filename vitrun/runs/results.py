"""What finished runs found: tables of runs averaged over seeds alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from vitrun import recipes
from vitrun.errors import UserError
from vitrun.papers import names
from vitrun.recipes import RECIPE_FILE, trees
from vitrun.runs.describe import describe_run
from vitrun.runs.lookup import load_saved_recipe
from vitrun.runs.run_files import find_finished_runs, load_about, load_recipe, load_result


@dataclass(frozen=True)
class FinishedRun:
    """A finished run: the options of its recipe, what it found, and its facts in the overrides of the papers."""

    name: str
    command: str
    options: dict[str, Any]
    result: dict[str, float]
    facts: dict[str, str | None]
    images: dict[str, str]  # fingerprints of what it was trained and tested on

    def label(self, name: str) -> str:
        """A fact, a fingerprint, or an option of the recipe as it is typed; nothing where the run has none of them."""
        if name in self.images:
            return self.images[name]
        if name in self.facts:
            return self.facts[name] or ""
        return (
            trees.format_value(trees.get_value(self.options, name)) if name in trees.iterate_keys(self.options) else ""
        )


@dataclass(frozen=True)
class Cell:
    """Runs that differ in nothing but the seed, and what they found for one value, as a share."""

    row: tuple[str, ...]
    column: tuple[str, ...]
    metric: str  # the name in a result
    shares: dict[Any, float]  # by seed
    std: float | None
    runs: tuple[str, ...]
    facts: dict[str, str | None]
    setting: str  # how they were trained, whatever the data and what a grid may have chosen

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return mean(self.shares.values())


def load_finished_runs(
    runs: Path, commands: tuple[str, ...], warn: Callable[[str], None], repeats: bool = True
) -> list[FinishedRun]:
    """Every finished run of the commands whose result is its own; ``repeats`` with evals of what a run has tested itself.

    A grid's trials are no results, and the runs that a procedure or a suite is made of stand for it. ``warn`` is told
    of a run that cannot be read.
    """
    found = []
    for folder in find_finished_runs(runs):
        try:
            found.append(load_finished_run(folder, commands, repeats))
        except UserError as error:
            warn(f"left out: {folder.name}: {error}")
        except (KeyError, TypeError, AttributeError) as error:
            reason = f"{type(error).__name__} {error}"
            warn(f"left out: {folder.name}: its {RECIPE_FILE} is of another vitrun, or written by hand ({reason})")
    return [run for run in found if run]


def load_finished_run(folder: Path, commands: tuple[str, ...], repeats: bool) -> FinishedRun | None:
    """Return the run in a folder; None if it is not of ``commands``, or its result is not its own."""
    options, runs = load_recipe(folder), folder.parent
    command = options["command"]
    if command not in commands or command == "finetune" and has_no_own_result(options):
        return None
    source = load_saved_recipe(options["init"], runs) if command == "eval" else None
    if not repeats and source is not None and source["data"] == options["data"]:
        return None
    result = {key: value for key, value in load_result(folder)["result"].items() if isinstance(value, int | float)}
    about = load_about(folder)
    images = {key: value for key, value in about.items() if key.endswith("_data")}
    if "computing" in about:  # what precision=auto was there
        options["precision"] = about["computing"]["precision"]
    return FinishedRun(folder.name, command, options, result, describe_run(command, options, runs), images)


def has_no_own_result(options: dict) -> bool:
    """Whether a fine-tuning run only chose a learning rate, or is the sum of runs that have folders of their own."""
    whole = options.get("grid") or options.get("seeds") or options["data"]["source"] == "suite"
    return bool(whole) or options.get("score") == "dev"


def tabulate(
    runs: list[FinishedRun], rows: tuple[str, ...], columns: tuple[str, ...], values: tuple[str, ...]
) -> list[Cell]:
    """The cells of a table, averaged only over seeds.

    Where runs that differ in more would share a cell, the options in which they differ are added to the columns' names.
    """
    added: list[str] = []
    while True:
        groups: dict[tuple, list[FinishedRun]] = {}
        for run in runs:
            for value in (value for value in values if value in run.result):
                row = tuple(run.label(name) for name in rows)
                column = tuple(run.label(name) for name in columns) + tuple(f"{k}={run.label(k)}" for k in added)
                groups.setdefault((row, column, value), []).append(run)
        clash = next((k for group in groups.values() if (k := find_difference(group, [*rows, *columns, *added]))), None)
        if clash is None:
            return [average_seeds(*labels, group) for labels, group in groups.items()]
        added.append(clash)


def find_difference(group: list[FinishedRun], known: list[str]) -> str | None:
    """An option or fingerprint, not known as a label and not the seed, in which runs of a group differ."""
    flat = [dict(list_computed_options(run)) for run in group]
    keys = dict.fromkeys(key for options in flat for key in options)
    return next((k for k in keys if k not in ("seed", *known) and len({str(f.get(k)) for f in flat}) > 1), None)


def list_computed_options(run: FinishedRun) -> list[tuple[str, Any]]:
    """Every option of a run's recipe that changes what it computes, its command first, its images last."""
    idle = recipes.RECIPES[run.command].execution_options
    if len(run.options.get("l2", ())) == 1:  # else l2 is chosen by images that no number of shots holds
        idle = (*idle, "shots")
    return [
        (key, trees.get_value(run.options, key))
        for key in trees.iterate_keys(run.options)
        if key.split(".")[0] not in idle
    ] + list(run.images.items())


def average_seeds(row: tuple[str, ...], column: tuple[str, ...], value: str, group: list[FinishedRun]) -> Cell:
    """The mean of a group, and its deviation over seeds; few-shot results bring the deviation over their own draws."""
    shares = {run.options.get("seed"): run.result[value] for run in group}
    std = stdev(shares.values()) if len(shares) > 1 else group[0].result.get(f"{value}_std")
    return Cell(
        row, column, value, shares, std, tuple(run.name for run in group), group[0].facts, serialize_setting(group[0])
    )


def serialize_setting(run: FinishedRun) -> str:
    """All that runs on the tasks of one suite have in common, as text."""
    free = ("data", "seed", "optim.lr", "optim.weight_decay", *run.images)
    protocol = run.options["data"].get("protocol")
    return repr((protocol, [pair for pair in list_computed_options(run) if not pair[0].startswith(free)]))


def vtab_means(cells: list[Cell], where: tuple[str, ...]) -> list[Cell]:
    """The means of VTAB's groups and of all its tasks, where ``data`` tells the cells of ``where`` apart.

    Tasks that were trained otherwise have a mean of their own. A group that lacks a task has none; the mean of all
    says how many there are, as in ``VTAB (18/19)``.
    """
    columns: dict[tuple, dict[str, Cell]] = {}
    for found in cells:
        if "data" in where and found.metric == "top1" and found.facts["data"] in names.VTAB_TASKS.values():
            labels = (*found.row, *found.column)
            at = where.index("data")
            columns.setdefault((found.setting, *labels[:at], *labels[at + 1 :]), {})[found.facts["data"]] = found
    means = []
    for tasks in columns.values():
        complete = {
            group: [tasks[t] for t in members]
            for group, members in names.VTAB_GROUPS.items()
            if tasks.keys() >= set(members)
        }
        every = (
            names.VTAB_MEAN if len(tasks) == len(names.VTAB_TASKS) else f"VTAB ({len(tasks)}/{len(names.VTAB_TASKS)})"
        )
        means += [
            average_tasks(label, members) for label, members in (complete | {every: list(tasks.values())}).items()
        ]
    return means


def average_tasks(label: str, tasks: list[Cell]) -> Cell:
    """The mean over tasks, for each seed that all of them have; for all of each one's where they share none."""
    first = tasks[0]
    seeds = [seed for seed in first.shares if all(seed in task.shares for task in tasks)]
    shares = {seed: mean(task.shares[seed] for task in tasks) for seed in seeds} or {None: mean(t.mean for t in tasks)}
    same = {
        key: value if all(task.facts[key] == value for task in tasks) else None for key, value in first.facts.items()
    }
    row, column = (
        tuple(label if part == first.facts["data"] else part for part in labels) for labels in (first.row, first.column)
    )
    std = stdev(shares.values()) if len(shares) > 1 else None
    runs = tuple(name for task in tasks for name in task.runs)
    return Cell(row, column, "top1", shares, std, runs, same | {"data": label}, first.setting)
