"""``-m``: a command once for every combination of its overrides, each a process of its own."""

import shlex
import sys
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrun.config import data_args, provenance, resolve, unused
from vitrun.config.overrides import expand_sweep
from vitrun.errors import Interrupted, UserError
from vitrun.recipes import Recipe, own_folder
from vitrun.runs import run
from vitrun.runs.jobs import check_all_succeeded, execute_as_process, run_jobs, tabulate_results


@dataclass(frozen=True)
class Combination:
    """Combination of overrides, its recipe, and the folder of its run; None if the command makes none."""

    overrides: list[str]
    recipe: Recipe
    folder: Path | None


def run_combinations(command: str, overrides: list[str], cfg: bool, flags: list[str], has_folder: bool) -> None:
    """Run every combination, all checked before the first; print a table of the results of commands that make a run.

    Raise UserError at the end if a combination failed, and Interrupted if one was stopped by a signal.
    """
    combinations = check_combinations(command, overrides, has_folder, running=not cfg)
    if cfg:
        print("\n\n".join(provenance.format_config(command, job.overrides, job.recipe) for job in combinations))
        return
    check_distinct(combinations)

    def execute(job: Combination) -> dict[str, Any] | None:
        return execute_as_process(command, [*pin_init(job.overrides, job.recipe), *flags], job.folder)

    jobs = {f"vitrun {command} {shlex.join(job.overrides)}": job for job in combinations}
    try:
        results, errors = run_jobs(jobs, execute, print_to_stderr, print_to_stderr)
    except Interrupted:
        print_to_stderr(
            f"Stopped. To continue: vitrun {command} -m {shlex.join([*overrides, *flags, *own_folder.list_flags()])}"
        )
        raise
    common = set.intersection(*(set(job.overrides) for job in combinations))
    rows = {
        " ".join(override for override in jobs[name].overrides if override not in common): result
        for name, result in results.items()
        if result is not None
    }
    if len(rows) > 1 and not flags:
        print(tabulate_results(rows, command))
    check_all_succeeded(errors, len(jobs))


def check_combinations(command: str, overrides: list[str], has_folder: bool, running: bool) -> list[Combination]:
    """Return all combinations with their recipes; raise UserError if one of them is wrong."""
    jobs = expand_sweep(command, data_args.expand_bare_name(overrides) if command == "data" else overrides)
    recipes = [resolve.resolve_recipe(command, job, running=running) for job in jobs]
    unused.check_unused(command, list(zip(jobs, recipes)))
    return [
        Combination(job, recipe, recipe.runs / run.run_name(command, recipe) if has_folder else None)
        for job, recipe in zip(jobs, recipes)
    ]


def pin_init(overrides: list[str], recipe: Recipe) -> list[str]:
    """Return overrides that name the resolved weights: another run may become ``init=latest`` while one runs."""
    init = getattr(recipe, "init", None)
    if init is None:
        return overrides
    return [*(override for override in overrides if not override.startswith("init=")), f"init={init}"]


def check_distinct(combinations: list[Combination]) -> None:
    """Raise UserError if two combinations are the same run or, for a command without runs, the same recipe."""
    first: dict[Hashable, Combination] = {}
    for job in combinations:
        same = first.setdefault(job.folder or job.recipe, job)
        if same is not job:
            one, two = (
                " ".join(override for override in a.overrides if override not in b.overrides)
                for a, b in ((same, job), (job, same))
            )
            what = f"run, {job.folder.name}" if job.folder else "job"
            raise UserError(f"{one} and {two} are the same {what}: remove one of them.")


def print_to_stderr(text: str) -> None:
    """Print a line on standard error; standard output is for the jobs."""
    print(text, file=sys.stderr, flush=True)
