"""Carry out one command: load its recipe, run it, report its result and its errors."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from vitrun import commands
from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.runtime import distributed

NEXT_COMMAND = {
    "pretrain": "vitrun finetune",
    "finetune": "vitrun eval",
    "fewshot": "vitrun compare",
    "eval": "vitrun compare",
    "dedup": "vitrun pretrain exclude={run}",
}
RUN_COMMANDS = ("pretrain", "finetune", "fewshot", "eval", "dedup")


@contextmanager
def exit_rank() -> Iterator[None]:
    """One of several ranks ends here, with the exit status of what is inside."""
    status = 0
    try:
        yield
    except typer.Exit as end:
        if distributed.world_size() == 1:
            raise
        status = end.exit_code
    distributed.exit_process(status)


@contextmanager
def report_errors(command: str) -> Iterator[None]:
    """A UserError inside is a sentence on standard error, of one rank where there are several, and an exit status."""
    try:
        yield
    except UserError as mistake:
        if distributed.rank() in getattr(mistake, "reported_by", (0,)):
            typer.echo(f"vitrun {command}: {mistake}", err=True)
        raise typer.Exit(mistake.status) from None
    except Interrupted as stopped:
        raise typer.Exit(stopped.status) from None
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run_command(command: str, overrides: list[str], cfg: bool, dry: bool, quiet: bool, as_json: bool) -> None:
    """Carry out one command and show what it found."""
    from vitrun.cli import multi_dataset
    from vitrun.config import provenance, resolve, unused
    from vitrun.config.overrides import expand_data_list
    from vitrun.runs import run
    from vitrun.runtime.console import Screen

    with distributed.propagate_errors(), distributed.rank_zero_first():
        jobs = expand_data_list(overrides) if command == "fewshot" else [overrides]
        if len(jobs) == 1:
            recipe = resolve.resolve_recipe(command, overrides, running=not cfg)
            unused.check_unused(command, [(overrides, recipe)])
    if len(jobs) > 1:
        multi_dataset.run_datasets(
            jobs, cfg, lambda recipe: execute_recipe(command, overrides, recipe, Screen(quiet, as_json), dry), as_json
        )
        return
    if cfg:
        if distributed.rank() == 0:
            typer.echo(provenance.format_config(command, overrides, recipe))
        return
    screen = Screen(quiet, as_json)
    result = execute_recipe(command, overrides, recipe, screen, dry)
    name = run.run_name(command, recipe) if command in RUN_COMMANDS and not dry else None
    if result is not None:
        screen.print_result({"run": name, **result} if name and as_json else result)
    if name:
        own = [
            override
            for override in overrides
            if override.startswith(("runs=", *["data=", "data."] * (command == "dedup")))
        ]
        screen.log(
            f"In {recipe.runs / name}. Next: {shlex.join([*NEXT_COMMAND[command].format(run=name).split(), *own])}"
        )
    if screen.stdout_error:
        raise UserError(
            f"Standard output took no more lines: {screen.stdout_error}. Make room for them.", ExitCode.SPACE
        )


def execute_recipe(command: str, overrides: list[str], recipe: Any, screen: Any, dry: bool) -> dict | None:
    """What a command found; None for one that makes no run. Where the user stops it, how to go on is said."""
    from vitrun.config.deviations import describe_deviations
    from vitrun.runs import run

    def main(
        recipe: Any, place: Any
    ) -> Any:  # the command's module brings torch: it is imported when there is work to do
        for line in describe_deviations(command, overrides, recipe):
            place.log(line)
        return commands.import_command(command).execute(recipe, place)

    try:
        if command not in RUN_COMMANDS:
            return main(recipe, screen)
        with distributed.propagate_errors():
            return run.execute_run(command, recipe, screen, main, dry)
    except Interrupted as stopped:
        screen.warn(f"Stopped. To go on from here: vitrun {command} {shlex.join(overrides)}".rstrip())
        raise typer.Exit(stopped.status) from None
