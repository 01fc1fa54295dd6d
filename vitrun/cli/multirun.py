"""``-m``: a command once for every combination of its overrides, each a process of its own."""

import shlex
import sys
from pathlib import Path
from typing import Any

from vitrun.config import data_args, provenance, resolve, unused
from vitrun.config.overrides import expand_sweep
from vitrun.errors import UserError
from vitrun.runs import run
from vitrun.runtime import subprocesses


def run_combinations(command: str, overrides: list[str], cfg: bool, flags: list[str], has_folder: bool) -> int:
    """Run every combination, all checked before the first; the highest of their exit statuses.

    ``has_folder``: the command makes a run folder, of which no two combinations may share one.
    """
    combinations = expand_sweep(command, data_args.expand_bare_name(overrides) if command == "data" else overrides)
    checked = [resolve.resolve_recipe(command, job, running=not cfg) for job in combinations]
    unused.check_unused(command, list(zip(combinations, checked)))
    if cfg:
        print("\n\n".join(provenance.format_config(command, job, recipe) for job, recipe in zip(combinations, checked)))
        return 0
    places = check_distinct_runs(command, combinations, checked, has_folder)
    failed, status = [], 0
    for number, (job, recipe, place) in enumerate(zip(combinations, checked, places), 1):
        print_to_stderr(f"job {number}/{len(combinations)}: {command} {shlex.join(job)}")
        status = subprocesses.run_process(command, [*pin_init(job, recipe), *flags])
        if status in subprocesses.STOP_CODES:
            print_to_stderr(f"Stopped at job {number} of {len(combinations)}. The same command goes on.")
            break
        if status:
            failed.append((status, f"{command} {shlex.join(job)}", place))
    for code, job, place in failed:
        log = f" (its log is in {place})" if has_folder and place.is_dir() else ""
        print_to_stderr(f"failed with exit status {code}: vitrun {job}{log}")
    return status if status in subprocesses.STOP_CODES else max((code for code, *_ in failed), default=0)


def pin_init(overrides: list[str], recipe: Any) -> list[str]:
    """The overrides with the weights as they were found for all jobs: while one runs, another run may become the latest."""
    if getattr(recipe, "init", None) is None:
        return overrides
    return [*(override for override in overrides if not override.startswith("init=")), f"init={recipe.init}"]


def check_distinct_runs(command: str, combinations: list[list[str]], recipes: list[Any], has_folder: bool) -> list[Any]:
    """Of each combination the folder of its run, or the recipe of one without; a UserError where two are the same."""
    places = [recipe.runs / run.run_name(command, recipe) if has_folder else recipe for recipe in recipes]
    seen: dict[Any, list[str]] = {}
    for job, place in zip(combinations, places):
        other = seen.setdefault(place, job)
        if other is not job:
            one, two = (" ".join(w for w in a if w not in b) for a, b in ((other, job), (job, other)))
            what = f"run, {place.name}" if isinstance(place, Path) else "job"
            raise UserError(f"{one} and {two} are the same {what}: keep one.")
    return places


def print_to_stderr(sentence: str) -> None:
    """A line on standard error, as jobs have standard output for themselves."""
    print(sentence, file=sys.stderr, flush=True)
