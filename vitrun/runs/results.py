"""Finished runs with their metrics, facts and cost, and why other runs are left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from vitrun import recipes
from vitrun.errors import UserError
from vitrun.papers import names
from vitrun.recipes import RECIPE_FILE, trees
from vitrun.runs.content import drop_places
from vitrun.runs.cost import Cost, measure_cost
from vitrun.runs.describe import describe_run
from vitrun.runs.hub_commits import insert_commit
from vitrun.runs.lookup import load_saved_recipe, trace_init
from vitrun.runs.metrics import Metric, read_metrics
from vitrun.runs.naming import select_computed_options
from vitrun.runs.run_files import RESULT_FILE, find_failure, find_runs, load_about, load_recipe, load_result

COMMANDS = ("pretrain", "finetune", "fewshot", "eval")  # whose runs are compared
MAX_NUMBER = 1e18  # of a metric or a count in a result
SEARCH_OPTIONS = (  # in which a search differs from the runs that it is made of; it has no precision of its own
    "grid", "decays", "seeds", "seed", "dev", "score", "optim.lr", "optim.weight_decay", "precision", "rounds",
    "teacher",
)  # fmt: skip


class Reason(Enum):
    """Why a run is not compared."""

    UNSELECTED = "not matched by only="
    COMMAND = "of another command"
    UNFINISHED = "not finished"
    FAILED = "failed"
    DAMAGED = "damaged"
    TRIAL = "trial of a search, scored on images held out of training"
    COMPOUND = "search or suite, whose runs are compared one by one"
    REPEATED = "eval of a run on the test images that it has tested itself"
    METRIC = "without the metrics that are compared"


@dataclass(frozen=True)
class LeftOut:
    """Run that is not compared, and why."""

    name: str
    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.reason.value}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True)
class FinishedRun:
    """Finished run: the options of its recipe, its metrics, its cost, and what it is of in the terms of papers."""

    name: str
    command: str
    options: dict[str, Any]
    metrics: dict[str, Metric]
    facts: dict[str, str | None]
    images: dict[str, str]  # fingerprints of the images it was trained and tested on
    cost: Cost
    source_options: dict[str, Any]  # of the runs that its weights come from: init.seed, init.init.seed ...

    @cached_property
    def computed(self) -> dict[str, Any]:
        """Return every option that changes what the run computes, but where files lie, and its images' fingerprints."""
        ignored = ("shots",) if len(self.options.get("l2", ())) == 1 else ()
        # of several l2 one is chosen on images that are in none of the draws
        return list_computed_options(self.command, self.options, ignored) | self.images

    @property
    def is_compound(self) -> bool:
        """Return whether the run is a search, rounds or a suite, made of runs with folders of their own."""
        search = self.options.get("grid") or self.options.get("seeds")
        rounds = self.options.get("rounds", 1) > 1
        return rounds or self.command == "finetune" and bool(search or self.options["data"]["source"] == "suite")

    def label(self, name: str) -> str:
        """Return a fact, a fingerprint, or an option as it is typed; empty if the run has none of that name."""
        if name in self.images:
            return self.images[name]
        if name in self.facts:
            return self.facts[name] or ""
        return (
            trees.format_value(trees.get_value(self.options, name)) if name in trees.iterate_keys(self.options) else ""
        )


def list_computed_options(command: str, options: dict[str, Any], ignored: Sequence[str] = ()) -> dict[str, Any]:
    """Return the dotted options of a saved recipe that change what its run computes, but where files lie."""
    kind = recipes.RECIPES[command]
    outside = (*ignored, *(kind.execution_options if issubclass(kind, recipes.RunRecipe) else ()))
    tree = select_computed_options(options, outside)
    return {key: trees.get_value(tree, key) for key in trees.iterate_keys(tree)}


def load_finished_runs(
    runs: Path, commands: Sequence[str] = COMMANDS, only: Sequence[str] = (), repeats: bool = True
) -> tuple[list[FinishedRun], list[LeftOut]]:
    """Return the finished runs in a folder, and those that are left out.

    A search or a suite is left out if its own runs are there; a trial of a search always is.

    Args:
        runs: The folder of all run folders.
        commands: Whose runs are returned.
        only: Patterns of names, as in ``*-cifar10-*``, or parts of them; empty for all runs.
        repeats: Whether to return evaluations of a run that repeat its own test.
    """
    loaded = [load_or_explain(folder, commands, only, repeats) for folder in find_runs(runs)]
    finished = [run for run in loaded if isinstance(run, FinishedRun)]
    left_out = [run for run in loaded if isinstance(run, LeftOut)]
    for is_suite in (False, True):  # the tasks of a suite may be searches
        parts = {serialize_part(run, is_suite) for run in finished if not is_whole(run, is_suite)}
        wholes = {run.name for run in finished if is_whole(run, is_suite) and serialize_part(run, is_suite) in parts}
        left_out += [LeftOut(name, Reason.COMPOUND) for name in wholes]
        finished = [run for run in finished if run.name not in wholes]
    return finished, sorted(left_out, key=lambda run: run.name)


def is_whole(run: FinishedRun, is_suite: bool) -> bool:
    """Return whether a run is a suite, or with ``is_suite=False`` a search on one data set."""
    return run.is_compound and (run.options["data"]["source"] == "suite") == is_suite


def serialize_part(run: FinishedRun, is_suite: bool) -> str:
    """Return as text the options that a search (a suite) has in common with the runs that it is made of."""
    free = (*SEARCH_OPTIONS, *run.images, *(("data",) if is_suite else ()))
    names = (name for name in run.computed if name not in free and name.split(".")[0] not in free)
    return repr([run.command, *sorted((name, str(run.computed[name])) for name in names)])


def load_or_explain(folder: Path, commands: Sequence[str], only: Sequence[str], repeats: bool) -> FinishedRun | LeftOut:
    """Return the run in a folder, or why it is left out."""
    if only and not any(matches_name(folder.name, pattern) for pattern in only):
        return LeftOut(folder.name, Reason.UNSELECTED)
    try:
        return load_finished_run(folder, commands, repeats)
    except UserError as error:
        return LeftOut(folder.name, Reason.DAMAGED, str(error))
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError, OSError) as error:
        reason = f"{type(error).__name__} {error}"
        detail = f"its {RECIPE_FILE} is of another vitrun, or written by hand: {reason}"
        return LeftOut(folder.name, Reason.DAMAGED, detail)


def matches_name(name: str, pattern: str) -> bool:
    """Return whether a name matches a pattern with ``*``, ``?`` or ``[]``, or contains one without them."""
    return fnmatchcase(name, pattern) if set("*?[") & set(pattern) else pattern in name


def load_finished_run(folder: Path, commands: Sequence[str], repeats: bool) -> FinishedRun | LeftOut:
    """Return the run in a folder, or why it is left out; raise UserError or another exception if it is damaged."""
    options, runs = load_recipe(folder), folder.parent
    command = options["command"]
    if command not in commands:
        return LeftOut(folder.name, Reason.COMMAND, command)
    if not (folder / RESULT_FILE).is_file():
        failure = find_failure(folder)
        return LeftOut(folder.name, Reason.FAILED if failure else Reason.UNFINISHED, failure)
    if options.get("score") == "dev":
        return LeftOut(folder.name, Reason.TRIAL)
    is_of_run = command == "eval" and load_saved_recipe(options["init"], runs) is not None
    if not repeats and is_of_run and is_same_test(runs / options["init"], folder):
        return LeftOut(folder.name, Reason.REPEATED)
    result, about = load_result(folder) or {}, load_about(folder)
    metrics = read_metrics(result)
    check_numbers(metrics)
    images = {key: value for key, value in about.items() if key.endswith("_data")}
    if "computing" in about:  # what precision=auto meant there
        options["precision"] = about["computing"]["precision"]
    facts = describe_run(command, options, runs) | describe_test(options, result)
    cost = measure_cost(options, result, about, facts["res"], runs)
    sources = flatten_sources(options.get("init"), runs)
    options["init"] = options.get("init") and insert_commit(options["init"], about)
    run = FinishedRun(folder.name, command, options, metrics, facts, images, cost, sources)
    run.computed  # noqa: B018 - raises here, where the run is named, what a damaged recipe raises
    return run


def describe_test(options: dict[str, Any], result: dict[str, Any]) -> dict[str, str | None]:
    """Return the facts of a run that its result knows: how many images it tested on, how they were shown, which set."""
    view = result.get("view") or {}
    images = result.get("images_used", result.get("test_images"))
    facts = {"view_of": view.get("source"), "test_images": None if images is None else str(images)}
    if view.get("res"):
        facts["res"] = str(view["res"])
    if (data := names.find_test_set(options["data"], images, result.get("objects"))) is not None:
        facts["data"] = data
    return facts


def flatten_sources(init: str | None, runs: Path) -> dict[str, Any]:
    """Return the options of the runs that weights come from, as ``init.seed``, and ``init.init.seed`` of the next."""
    return {
        f"{'init.' * depth}{name}": value
        for depth, (_, source) in enumerate(trace_init(init, runs), 1)
        for name, value in list_computed_options(source["command"], source).items()
    }


def is_same_test(run: Path, evaluation: Path) -> bool:
    """Return whether an evaluation repeats the test of a run.

    It does if it is on the same images, wherever they lie, read with the same options and shown in the same way.
    """
    one, two = (drop_places(load_recipe(folder)) for folder in (run, evaluation))
    same_view = one.get("view") == two.get("view") and two.get("res") in (None, one.get("res"))
    same_images = load_about(run).get("test_data") == load_about(evaluation).get("test_data")
    return bool(one["data"] == two["data"]) and same_view and same_images


def check_numbers(metrics: dict[str, Metric]) -> None:
    """Raise UserError if a metric, or its deviation, is not a finite number."""
    for name, metric in metrics.items():
        for value in (metric.mean, *(value for value in (metric.std, metric.ci95) if value is not None)):
            if not isinstance(value, int | float) or not abs(value) < MAX_NUMBER:  # NaN is not less either
                raise UserError(f"its {name} is {str(value)[:20]}, which is not a number that can be compared")
