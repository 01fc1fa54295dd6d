"""Runs of a report: what their folders say, read once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from vitrun import recipes
from vitrun.commands import RUN_COMMANDS
from vitrun.config.deviations import Deviations, find_deviations
from vitrun.errors import ExitCode, UserError, suggest
from vitrun.recipes import trees
from vitrun.runs import lookup
from vitrun.runs.comparison import Comparison, tabulate_runs
from vitrun.runs.describe import describe_run
from vitrun.runs.history import MAX_LINES, History, read_history
from vitrun.runs.results import (
    COMMANDS,
    FinishedRun,
    LeftOut,
    Reason,
    list_computed_options,
    load_finished_runs,
    load_or_explain,
    serialize_part,
)
from vitrun.runs.run_files import finish_order, load_about, load_recipe, load_result

MAX_RECIPES = 30  # runs whose whole recipes are on the page
ALL_LINES = 1_000_000  # of the metrics of all runs that are parsed: of more runs fewer each
FOREIGN_ERRORS = (  # of runs of another vitrun, or whose files were written by hand
    UserError, KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError, OSError,
)  # fmt: skip
STATES = {  # of runs that are shown, but in no table of results
    Reason.UNFINISHED: "not finished",
    Reason.FAILED: "failed",
    Reason.TRIAL: "trial",
    Reason.COMPOUND: "search",
    Reason.REPEATED: "finished",
    Reason.METRIC: "finished",
}


@dataclass(frozen=True)
class ReportedRun:
    """Run of a report, finished or not."""

    folder: Path
    options: dict[str, Any]  # the saved recipe
    facts: dict[str, str | None]  # what it is of, in the terms of papers
    about: dict[str, Any]  # code, machine and fingerprints
    result: dict[str, Any]  # plain; empty if it is not finished
    state: str  # finished, not finished, failed, trial or search
    detail: str  # the error of a failed run
    finished: tuple[int, float]  # its number in the folder, and seconds since 1970; zeros if it is not
    counted: FinishedRun | None  # the run as it is compared; None if it is not

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return self.folder.name

    @property
    def command(self) -> str:
        """Return the command that made it."""
        return str(self.options["command"])

    def label(self, option: str) -> str | None:
        """Return an option or a fact as it is typed; None if the run has none of that name."""
        if option in ("data", "model") and isinstance(row := self.options.get(option), dict):
            return str(row["name"])
        if option in set(trees.iterate_keys(self.options)):
            return trees.format_value(trees.get_value(self.options, option))
        return self.facts.get(option)

    @cached_property
    def computed(self) -> dict[str, Any]:
        """Return the options that change what it computes, by their dotted names."""
        options = list_computed_options(self.command, self.options)
        return {key: value for key, value in options.items() if key != "command"}

    @cached_property
    def deviations(self) -> Deviations | None:
        """Return in what its recipe deviates from that of its protocol; None if it has none."""
        init = self.options.get("init")
        try:
            return find_deviations(self.options, lookup.model_row_name(init, self.folder.parent) if init else None)
        except FOREIGN_ERRORS:
            return None


@dataclass(frozen=True)
class Material:
    """Runs that a report is made of."""

    place: Path  # the folder of all run folders
    runs: tuple[ReportedRun, ...]  # the newest first
    left_out: tuple[LeftOut, ...]  # that cannot be shown
    upstream: dict[str, FinishedRun]  # every finished run of the folder, shown or not: weights come from them
    subject: str = ""  # the run that the report is about; empty if it is about all alike

    @cached_property
    def by_name(self) -> dict[str, ReportedRun]:
        """Return the runs by their names."""
        return {run.name: run for run in self.runs}

    @cached_property
    def anchors(self) -> dict[str, str]:
        """Return the id of what each run was made with, by its name; empty if the page has no room for that."""
        names = [run.name for run in self.runs] if len(self.runs) <= MAX_RECIPES else []
        return {name: f"run-{number}" for number, name in enumerate(names, 1)}

    @cached_property
    def comparison(self) -> Comparison:
        """Return the tables of the runs that are compared."""
        return tabulate_runs([run.counted for run in self.runs if run.counted])

    @cached_property
    def histories(self) -> dict[str, History]:
        """Return the curves of each run, by its name."""
        lines = min(MAX_LINES, ALL_LINES // max(1, len(self.runs)))
        return {run.name: read_history(run.folder, lines) for run in self.runs}


def gather_runs(recipe: recipes.Report) -> Material:
    """Return the runs that a recipe selects; raise UserError if there are none."""
    finished, others = load_finished_runs(recipe.runs, recipe.commands or COMMANDS, recipe.only)
    is_whole = not (recipe.only or recipe.commands)
    every = finished if is_whole else load_finished_runs(recipe.runs)[0]
    runs, damaged = load_reported_runs(recipe.runs, [*finished, *others])
    selected = select_runs(runs, recipe.where)
    if not selected:
        where = " and ".join([*recipe.commands, *recipe.only, *recipe.where])
        which = f" that matches {where}" if where else ""
        raise UserError(f"There is no run{which} in {recipe.runs.absolute()}.", ExitCode.DATA, option="runs")
    return Material(recipe.runs, tuple(selected), tuple(damaged), {run.name: run for run in every})


def gather_run(folder: Path) -> Material:
    """Return a finished run, with those that a search or suite is made of; raise UserError if it is damaged."""
    place, own = folder.parent, load_or_explain(folder, RUN_COMMANDS, (), repeats=True)
    parts: list[FinishedRun] = []
    if isinstance(own, FinishedRun) and own.is_compound:
        is_suite = own.options["data"]["source"] == "suite"
        others = [run for run in load_finished_runs(place)[0] if run.name != own.name]
        parts = [run for run in others if serialize_part(run, is_suite) == serialize_part(own, is_suite)]
        own = LeftOut(own.name, Reason.COMPOUND) if parts else own
    runs, damaged = load_reported_runs(place, [own, *parts])
    if not runs:
        raise UserError(str(own), ExitCode.CHECKPOINT)
    chain = [name for name, _ in lookup.trace_init(runs[0].options.get("init"), place)]
    sources = [load_or_explain(place / name, COMMANDS, (), repeats=True) for name in chain]
    upstream = {run.name: run for run in sources if isinstance(run, FinishedRun)}
    return Material(place, tuple(runs), tuple(damaged), upstream, folder.name)


def load_reported_runs(place: Path, listed: Sequence[FinishedRun | LeftOut]) -> tuple[list[ReportedRun], list[LeftOut]]:
    """Return what the folders of runs say, the newest first, and those that are damaged."""
    runs, damaged = [], []
    for run in listed:
        if isinstance(run, LeftOut) and run.reason is Reason.DAMAGED:
            damaged.append(run)
        elif isinstance(run, FinishedRun) or run.reason in STATES:
            try:
                runs.append(load_reported_run(place / run.name, run))
            except FOREIGN_ERRORS as error:
                damaged.append(LeftOut(run.name, Reason.DAMAGED, str(error)))
    return sorted(runs, key=lambda run: (run.finished, run.name), reverse=True), damaged


def load_reported_run(folder: Path, run: FinishedRun | LeftOut) -> ReportedRun:
    """Return what the folder of a run says; raise UserError if it is damaged."""
    options, about, result = load_recipe(folder), load_about(folder), load_result(folder) or {}
    if isinstance(run, FinishedRun):
        facts, state, detail, counted = run.facts, "finished", "", run
    else:
        facts, state, counted = describe_run(options["command"], options, folder.parent), STATES[run.reason], None
        detail = run.detail if run.reason is Reason.FAILED else ""
    about |= {key: about[key] if isinstance(about.get(key), dict) else {} for key in ("computing", "libraries")}
    reported = ReportedRun(folder, options, facts, about, result, state, detail, finish_order(folder), counted)
    reported.computed  # noqa: B018 - raises here, where the run is named, what a damaged recipe raises
    return reported


def select_runs(runs: Sequence[ReportedRun], where: Sequence[str]) -> list[ReportedRun]:
    """Return the runs that have all options of ``where``; raise UserError about one that no run has."""
    selected = [*runs]
    for condition in where:
        option, equals, pattern = condition.partition("=")
        if not equals:
            raise UserError("must be OPTION=VALUE, as in data=cifar10.", option="where", value=condition)
        known = dict.fromkeys(name for run in runs for name in list_names(run))
        if known and option not in known:
            raise UserError(f"No run has {option!r}. {suggest(option, known)}", option="where", value=condition)
        values = {run.name: {run.label(option), run.facts.get(option)} - {None} for run in runs}
        chosen = [run for run in selected if any(matches(str(value), pattern) for value in values[run.name])]
        if runs and not any(matches(str(value), pattern) for some in values.values() for value in some):
            there = ", ".join(sorted({str(value) for some in values.values() for value in some})[:8])
            raise UserError(f"No run has this. There are {there}.", ExitCode.DATA, "where", condition)
        selected = chosen
    return selected


def list_names(run: ReportedRun) -> Iterator[str]:
    """Yield the names of the options and facts of a run."""
    yield from ("data", "model")
    yield from trees.iterate_keys(run.options)
    yield from run.facts


def matches(value: str, pattern: str) -> bool:
    """Return whether a value is the one that was typed, or matches it as a pattern, whatever the case."""
    return value == pattern or fnmatchcase(value.lower(), pattern.lower())
