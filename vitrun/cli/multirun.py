"""``-m``: a verb once for every combination of its words, each a process of its own."""

import shlex
import sys
from pathlib import Path
from typing import Any

from vitrun.config import data_args, overrides, provenance, resolve, unused
from vitrun.errors import Mistake
from vitrun.runs import run
from vitrun.runtime import subprocesses


def carry_out(verb: str, words: list[str], cfg: bool, flags: list[str], has_folder: bool) -> int:
    """Run every combination, all checked before the first; the highest of their exit statuses.

    ``has_folder``: the verb makes a run folder, of which no two combinations may share one.
    """
    combinations = overrides.expand(verb, data_args.spelt(words) if verb == "data" else words)
    checked = [resolve.load(verb, job, running=not cfg) for job in combinations]
    unused.check(verb, list(zip(combinations, checked)))
    if cfg:
        print("\n\n".join(provenance.show(verb, job, recipe) for job, recipe in zip(combinations, checked)))
        return 0
    places = distinct(verb, combinations, checked, has_folder)
    failed, status = [], 0
    for number, (job, recipe, place) in enumerate(zip(combinations, checked, places), 1):
        say(f"job {number}/{len(combinations)}: {verb} {shlex.join(job)}")
        status = subprocesses.carry_out(verb, [*pinned(job, recipe), *flags])
        if status in subprocesses.STOPPED:
            say(f"Stopped at job {number} of {len(combinations)}. The same command goes on.")
            break
        if status:
            failed.append((status, f"{verb} {shlex.join(job)}", place))
    for code, job, place in failed:
        log = f" (its log is in {place})" if has_folder and place.is_dir() else ""
        say(f"failed with exit status {code}: vitrun {job}{log}")
    return status if status in subprocesses.STOPPED else max((code for code, *_ in failed), default=0)


def pinned(words: list[str], recipe: Any) -> list[str]:
    """The words with the weights as they were found for all jobs: while one runs, another run may become the latest."""
    if getattr(recipe, "init", None) is None:
        return words
    return [*(word for word in words if not word.startswith("init=")), f"init={recipe.init}"]


def distinct(verb: str, combinations: list[list[str]], recipes: list[Any], has_folder: bool) -> list[Any]:
    """Of each combination the folder of its run, or the recipe of one without; a Mistake where two are the same."""
    places = [recipe.runs / run.name(verb, recipe) if has_folder else recipe for recipe in recipes]
    seen: dict[Any, list[str]] = {}
    for job, place in zip(combinations, places):
        other = seen.setdefault(place, job)
        if other is not job:
            one, two = (" ".join(w for w in a if w not in b) for a, b in ((other, job), (job, other)))
            what = f"run, {place.name}" if isinstance(place, Path) else "job"
            raise Mistake(f"{one} and {two} are the same {what}: keep one.")
    return places


def say(sentence: str) -> None:
    """A line on standard error, as jobs have standard output for themselves."""
    print(sentence, file=sys.stderr, flush=True)
