"""``-m``: a command once for every combination of its overrides, each a process of its own."""

import json
import shlex
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from vitrun.cli.launch import launch, take_launcher
from vitrun.config import data_args, provenance, resolve, unused
from vitrun.config.bare_arguments import split_arguments
from vitrun.config.overrides import expand_sweep
from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.recipes import Recipe, own_folder
from vitrun.runs import run
from vitrun.runs.jobs import check_all_succeeded, check_status, execute_as_process, run_jobs, tabulate_sweep
from vitrun.runs.run_files import load_result
from vitrun.runtime.console import print_error
from vitrun.runtime.process_pool import run_pool
from vitrun.runtime.stop import STOP_CODES
from vitrun.runtime.text_format import format_json

AT_ONCE = "jobs"  # jobs=N: the number of processes at a time


@dataclass(frozen=True)
class Combination:
    """Combination of overrides, its recipe, and the folder of its run; None if the command makes none."""

    overrides: list[str]
    recipe: Recipe
    folder: Path | None


def run_combinations(command: str, overrides: list[str], cfg: bool, flags: list[str], has_folder: bool) -> None:
    """Run every combination, all checked before the first; print a table of the results of commands that make a run.

    Raise UserError at the end if a combination failed, and typer.Exit if one was stopped by a signal.
    """
    without, request = take_launcher(overrides)
    given, at_once = take_at_once(without)
    pinning = not cfg and "--dry-run" not in flags
    combinations = check_combinations(command, given, has_folder, running=not cfg, pinning=pinning)
    if cfg:
        print("\n\n".join(provenance.format_config(command, job.overrides, job.recipe) for job in combinations))
        return
    check_distinct(combinations)
    if request is not None:
        todo = [[*pin_init(job.overrides, job.recipe), *flags] for job in combinations]
        most = 0 if without == given else at_once
        return launch(command, todo, request, Path(getattr(combinations[0].recipe, "runs", "runs")), most)
    jobs = {f"vitrun {command} {shlex.join(job.overrides)}": job for job in combinations}
    try:
        if at_once == 1 and "--json" not in flags:
            results, errors = run_in_turn(command, jobs, flags)
        else:
            results, errors = run_side_by_side(command, jobs, flags, at_once)
    except Interrupted as interrupt:
        print_error(
            f"Stopped. To continue: vitrun {command} -m {shlex.join([*overrides, *flags, *own_folder.list_flags()])}"
        )
        raise typer.Exit(interrupt.status) from None
    rows = {name: result for name, result in results.items() if result is not None}
    if len(rows) > 1 and "--json" not in flags:
        varied = {name: list_varied(jobs[name], combinations) for name in rows}
        print(tabulate_sweep(varied, rows))
        if has_folder and not {"--quiet", "--dry-run"} & {*flags}:
            print(f"Next: {suggest_comparison(overrides, varied)}")
    check_all_succeeded(errors, len(jobs))


def suggest_comparison(overrides: list[str], varied: Mapping[str, Mapping[str, str]]) -> str:
    """Return the command that compares the runs of a sweep, and what it adds to the table."""
    folder = [override for override in overrides if override.startswith("runs=")]
    seeds = any("seed" in options for options in varied.values())
    return shlex.join(["vitrun", "compare", *folder]) + " (mean and standard deviation over seeds)" * seeds


Outcome = tuple[Mapping[str, dict[str, Any] | None], Mapping[str, UserError]]  # results and errors, by job


def run_in_turn(command: str, jobs: Mapping[str, Combination], flags: list[str]) -> Outcome:
    """Return the results and the errors of jobs that are run one after another, and print on this screen."""

    def execute(job: Combination) -> dict[str, Any] | None:
        return execute_as_process(command, [*pin_init(job.overrides, job.recipe), *flags], job.folder)

    return run_jobs(jobs, execute, print_error, print_error)


def run_side_by_side(command: str, jobs: Mapping[str, Combination], flags: list[str], at_once: int) -> Outcome:
    """Return the results and the errors of jobs of which ``at_once`` run at a time.

    With ``--json`` print a line of JSON for each job that ends; else all that they print, with their numbers.
    """
    as_json = "--json" in flags
    names = {f"[{number}/{len(jobs)}]": name for number, name in enumerate(jobs, 1)}
    results: dict[str, dict[str, Any] | None] = {}
    errors: dict[str, UserError] = {}
    stops: list[int] = []  # exit codes of jobs that a signal stopped, with their state saved

    def on_end(number: str, status: int, output: str, reason: str) -> None:
        name = names[number]
        job = jobs[name]
        if status in STOP_CODES:
            stops.append(status)
            return
        try:
            check_status(status, job.folder)
        except UserError as error:
            errors[name] = error
            print_error(f"{name} failed: {error}")
            run_name = {"run": job.folder.name} if job.folder else {}
            content: dict[str, Any] = {"error": reason or str(error), "status": status, **run_name}
        else:
            content = json.loads(output) if as_json else {}
            results[name] = load_result(job.folder) if job.folder and "--dry-run" not in flags else content or None
        if as_json:
            print(format_json({"overrides": job.overrides, **content}), flush=True)

    commands = {
        number: [command, *pin_init(jobs[name].overrides, jobs[name].recipe), *flags] for number, name in names.items()
    }
    stopped = run_pool(commands, at_once, lambda number: print_error(f"{number} {names[number]}"), on_end, as_json)
    if stopped is not None or stops:
        raise Interrupted(ExitCode(stopped or stops[0]))
    return results, errors


def take_at_once(overrides: Sequence[str]) -> tuple[list[str], int]:
    """Return the overrides without ``jobs=N``, and N; 1 if it is not among them."""
    given = [override for override in overrides if override.startswith(f"{AT_ONCE}=")]
    for override in given:
        if not override.partition("=")[2].isdecimal() or override == f"{AT_ONCE}=0" or len(given) > 1:
            raise UserError(
                "give the number of jobs to run at once, as in jobs=2.", ExitCode.COMMAND, *split_text(override)
            )
    at_once = int(given[0].partition("=")[2]) if given else 1
    return [override for override in overrides if override not in given], at_once


def list_varied(job: Combination, combinations: Sequence[Combination]) -> dict[str, str]:
    """Return the options of a job, with their values, that all combinations do not share."""
    common = set.intersection(*(set(one.overrides) for one in combinations))
    return dict(split_text(override) for override in job.overrides if override not in common)


def split_text(override: str) -> tuple[str, str]:
    """Return option and value of an override."""
    key, _, value = override.partition("=")
    return key, value


def check_combinations(
    command: str, overrides: list[str], has_folder: bool, running: bool, pinning: bool = False
) -> list[Combination]:
    """Return all combinations with their recipes, as ``resolve_recipe`` does; raise UserError if one is wrong."""
    if command == "data":
        overrides = data_args.expand_bare_name(overrides)
    if command == "visualize":
        overrides, _ = split_arguments(command, overrides)
    jobs = expand_sweep(command, overrides)
    recipes = [resolve.resolve_recipe(command, job, running=running, pinning=pinning) for job in jobs]
    unused.check_unused(command, list(zip(jobs, recipes)))
    return [
        Combination(job, recipe, recipe.runs / run.run_name(command, recipe) if has_folder else None)
        for job, recipe in zip(jobs, recipes)
    ]


def pin_init(overrides: list[str], recipe: Recipe) -> list[str]:
    """Return overrides that name the resolved weights: another run may become the ``latest`` while one runs."""
    for option in ("init", "teacher"):
        if (weights := getattr(recipe, option, None)) is not None:
            others = [override for override in overrides if not override.startswith(f"{option}=")]
            overrides = [*others, f"{option}={weights}"]
    return overrides


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
