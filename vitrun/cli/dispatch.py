"""Carry out one command: load its recipe, run it, report its result and its errors."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from vitrun import commands
from vitrun.errors import Exit, Mistake, Stopped
from vitrun.runtime import distributed

NEXT = {
    "pretrain": "vitrun finetune",
    "finetune": "vitrun eval",
    "fewshot": "vitrun compare",
    "eval": "vitrun compare",
    "dedup": "vitrun pretrain exclude={run}",
}
RUNNING = ("pretrain", "finetune", "fewshot", "eval", "dedup")


@contextmanager
def leaving() -> Iterator[None]:
    """One of several ranks ends here, with the exit status of what is inside."""
    status = 0
    try:
        yield
    except typer.Exit as end:
        if distributed.size() == 1:
            raise
        status = end.exit_code
    distributed.leave(status)


@contextmanager
def told(verb: str) -> Iterator[None]:
    """A Mistake inside is a sentence on standard error, of one rank where there are several, and an exit status."""
    try:
        yield
    except Mistake as mistake:
        if distributed.rank() in getattr(mistake, "said_by", (0,)):
            typer.echo(f"vitrun {verb}: {mistake}", err=True)
        raise typer.Exit(mistake.status) from None
    except Stopped as stopped:
        raise typer.Exit(stopped.status) from None
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def perform(verb: str, words: list[str], cfg: bool, dry: bool, quiet: bool, as_json: bool) -> None:
    """Carry out one verb and show what it found."""
    from vitrun.cli import several
    from vitrun.config import overrides, provenance, resolve, unused
    from vitrun.runs import run
    from vitrun.runtime.console import Screen

    with distributed.together(), distributed.first():
        jobs = overrides.by_data(words) if verb == "fewshot" else [words]
        if len(jobs) == 1:
            recipe = resolve.load(verb, words, running=not cfg)
            unused.check(verb, [(words, recipe)])
    if len(jobs) > 1:
        several.main(jobs, cfg, lambda recipe: carried_out(verb, words, recipe, Screen(quiet, as_json), dry), as_json)
        return
    if cfg:
        if distributed.rank() == 0:
            typer.echo(provenance.show(verb, words, recipe))
        return
    screen = Screen(quiet, as_json)
    result = carried_out(verb, words, recipe, screen, dry)
    name = run.name(verb, recipe) if verb in RUNNING and not dry else None
    if result is not None:
        screen.result({"run": name, **result} if name and as_json else result)
    if name:
        own = [word for word in words if word.startswith(("runs=", *["data=", "data."] * (verb == "dedup")))]
        screen.say(f"In {recipe.runs / name}. Next: {shlex.join([*NEXT[verb].format(run=name).split(), *own])}")
    if screen.lost:
        raise Mistake(f"Standard output took no more lines: {screen.lost}. Make room for them.", Exit.SPACE)


def carried_out(verb: str, words: list[str], recipe: Any, screen: Any, dry: bool) -> dict | None:
    """What a verb found; None for one that makes no run. Where the user stops it, how to go on is said."""
    from vitrun.config.deviations import marks
    from vitrun.runs import run

    def main(recipe: Any, place: Any) -> Any:  # the verb's module brings torch: it is imported when there is work to do
        for line in marks(verb, words, recipe):
            place.say(line)
        return commands.module(verb).main(recipe, place)

    try:
        if verb not in RUNNING:
            return main(recipe, screen)
        with distributed.together():
            return run.carry_out(verb, recipe, screen, main, dry)
    except Stopped as stopped:
        screen.warn(f"Stopped. To go on from here: vitrun {verb} {shlex.join(words)}".rstrip())
        raise typer.Exit(stopped.status) from None
