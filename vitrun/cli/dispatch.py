"""Execute one command: resolve its recipe, run it, print its result or its error."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from vitrun.commands import DISTRIBUTED_COMMANDS, RUN_COMMANDS
from vitrun.config import SINGLE_COMMANDS
from vitrun.errors import ExitCode, Interrupted, UserError, described_os_errors, shorten
from vitrun.runtime import distributed, hub_bars, subprocesses
from vitrun.runtime.console import Screen, print_error
from vitrun.runtime.text_format import escape_controls

if TYPE_CHECKING:  # imported late: slow, and it fails if a plug-in cannot be imported, which has to be reported
    from vitrun.recipes import Recipe
    from vitrun.recipes.slurm import Slurm

NEXT_COMMAND = {  # after a command that makes a run
    "pretrain": "vitrun finetune",
    "finetune": "vitrun eval",
    "fewshot": "vitrun compare",
    "eval": "vitrun report",
    "dedup": "vitrun pretrain exclude={run}",
}


class Flags(NamedTuple):
    """Flags of a command."""

    cfg: bool = False
    dry_run: bool = False
    multirun: bool = False
    quiet: bool = False
    json: bool = False


def execute_command(command: str, overrides: list[str], flags: Flags) -> None:
    """Execute ``vitrun COMMAND OVERRIDES FLAGS``; raise typer.Exit with the exit code if it is not 0."""
    prepare_process(command)
    hub_bars.hide_in_process(flags.quiet or flags.json)
    with exit_code_of_errors(command):
        check_flags(command, flags)
        if not (flags.quiet or flags.json):
            warn_of_skipped_folder()
        if flags.multirun:
            from vitrun.cli.multirun import run_combinations

            passed = [f"--{flag}" for flag in ("dry-run", "quiet", "json") if getattr(flags, flag.replace("-", "_"))]
            run_combinations(command, overrides, flags.cfg, passed, has_folder=command in RUN_COMMANDS)
        elif alone := [override for override in overrides if override.startswith("jobs=")]:
            raise UserError(
                f"{alone[0]} is for -m, which runs every combination: add -m, or leave it out.", option="jobs"
            )
        else:
            run_command(command, overrides, flags)


def prepare_process(command: str) -> None:
    """Set what has to be set before torch is imported, and make the standard streams safe to write to.

    Let a job of a sweep end when the sweep does.
    """
    subprocesses.stop_with_parent()
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # the Hub's client logs every attempt; vitrun logs the outcome
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else 60 lines of addresses when another rank has ended
    if command in (*RUN_COMMANDS, "predict", "quickstart"):
        from vitrun.runtime import environment

        environment.keep_freed_memory()
        environment.share_cores()
    if sys.stdout is None:  # it was closed before the process started
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    for stream in filter(None, (sys.stdout, sys.stderr)):  # a terminal without ± shows another character
        with suppress(OSError):  # a line that it could not write, on a full disk
            stream.reconfigure(errors="replace")


@contextmanager
def exit_code_of_errors(command: str) -> Iterator[None]:
    """Join the other ranks, run the body, print its UserError to stderr, and exit with its code.

    Under torchrun, rank 0 prints the errors that all ranks share. No rank exits before that, as torchrun kills the
    others when the first one fails.
    """
    code = 0
    try:
        distributed.init_process_group()
        with described_os_errors():
            yield
    except UserError as error:
        if distributed.rank() in (error.reported_by or (0,)):
            # one line, even if the name of a file contains a newline
            sentence = shorten(f"vitrun {command}: {error}").replace("\n", "\\n")
            print_error(sentence)
        code = error.status
    except Interrupted as error:
        if distributed.rank() == 0:
            print_error(f"vitrun {command}: stopped; the same command starts again.")
        code = error.status
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except typer.Exit as end:
        code = end.exit_code
    except BrokenPipeError:  # the reader of stdout has closed it, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        distributed.destroy_process_group()
    distributed.exit_process(code)
    if code:
        raise typer.Exit(code)


def has_flag(command: str, flag: str) -> bool:
    """Return whether a command has a flag: some have no ``dry_run`` or no ``multirun``."""
    return {"dry_run": command in RUN_COMMANDS, "multirun": command not in SINGLE_COMMANDS}.get(flag, True)


def check_flags(command: str, flags: Flags) -> None:
    """Raise a UserError about a flag that the command does not have, or a command that torchrun cannot start."""
    if flags.dry_run and not has_flag(command, "dry_run"):
        raise UserError(f"--dry-run is for {', '.join(RUN_COMMANDS)} only: leave it out.")
    if flags.multirun and not has_flag(command, "multirun"):
        raise UserError(f"vitrun {command} has no combinations to run: leave out -m, or type a command for each.")
    if distributed.world_size() > 1 and (flags.multirun or command not in DISTRIBUTED_COMMANDS):
        what = "-m" if flags.multirun else f"vitrun {command}"
        raise UserError(f"{what} runs in one process, not in {distributed.world_size()}: start it without torchrun.")


def warn_of_skipped_folder() -> None:
    """Warn if the folder ``conf`` is not searched, on standard error: standard output may be pasted or parsed."""
    from vitrun.recipes import composition

    if why := composition.explain_skipped_folder():
        Screen().warn(why)


def run_command(command: str, overrides: list[str], flags: Flags) -> None:
    """Resolve the recipe of a command, execute it and print its result; with --cfg print the recipe only."""
    from vitrun.cli import multi_dataset
    from vitrun.cli.launch import take_launcher
    from vitrun.commands import runner
    from vitrun.config import provenance
    from vitrun.config.bare_arguments import split_arguments
    from vitrun.config.overrides import expand_data_list

    overrides, request = take_launcher(overrides)
    if request is not None:
        submit_command(command, overrides, flags, request)
        return
    screen = Screen(flags.quiet, flags.json)
    typed = overrides
    overrides, bare = split_arguments(command, typed)
    with distributed.propagate_errors():
        jobs = expand_data_list(overrides) if command == "fewshot" else [overrides]
    if len(jobs) > 1:

        def execute(job: list[str], recipe: "Recipe") -> dict[str, Any]:
            return execute_recipe(command, job, recipe, screen.renew(), flags.dry_run, overrides)

        multi_dataset.run_datasets(jobs, flags.cfg, flags.dry_run, execute, screen)
        return
    recipe = runner.resolve_recipe(command, overrides, not flags.cfg, flags.dry_run, bare)
    if flags.cfg:
        if distributed.rank() == 0:
            typer.echo(escape_controls(provenance.format_config(command, overrides, recipe)))
    else:
        screen.quiet |= command == "predict" and recipe.save is None and not screen.is_terminal  # a pipe gets CSV alone
        result = execute_recipe(command, overrides, recipe, screen, flags.dry_run, typed)
        print_result(command, overrides, recipe, result, screen, flags)


def submit_command(command: str, overrides: list[str], flags: Flags, request: "Slurm") -> None:
    """Submit a command as a job, or each task of a suite as one of an array, after the checks that precede a run."""
    from vitrun.cli.launch import launch
    from vitrun.cli.multirun import pin_init
    from vitrun.commands import runner
    from vitrun.recipes import Suite

    if command not in RUN_COMMANDS:
        why = f"is for {', '.join(RUN_COMMANDS)}: type vitrun {command} without it."
        raise UserError(why, option="launcher", value="slurm")
    recipe = runner.resolve_recipe(command, overrides, not flags.cfg, flags.dry_run)
    jobs = [pin_init(overrides, recipe)]
    if command == "finetune" and isinstance(recipe.data, Suite):
        others = [override for override in jobs[0] if not override.startswith("data=")]
        jobs = [[f"data={recipe.data.name}/{task}", *others] for task in recipe.data.tasks]
    passed = ["--dry-run"] * flags.dry_run + ["--quiet"] * flags.quiet
    launch(command, [[*job, *passed] for job in jobs], request, recipe.runs, as_json=flags.json)


def print_result(
    command: str, overrides: list[str], recipe: "Recipe", result: dict[str, Any], screen: Screen, flags: Flags
) -> None:
    """Print the result of a run, its folder, and the next command to type."""
    from vitrun.recipes import Pretrain, RunRecipe
    from vitrun.runs.run import run_name

    folder = recipe.runs / run_name(command, recipe) if isinstance(recipe, RunRecipe) and not flags.dry_run else None
    if isinstance(recipe, RunRecipe) or flags.json and result:  # predict has printed its lines
        screen.print_result({"run": folder.name, **result} if folder and flags.json else result)
    if folder:
        prefixes = ("runs=", "data=", "data.") if command == "dedup" else ("runs=",)
        arguments = [override for override in overrides if override.startswith(prefixes)]
        is_evaluated = isinstance(recipe, Pretrain) and recipe.objective.kind in ("contrastive", "detection")
        following = NEXT_COMMAND.get("finetune" if is_evaluated else command, "").format(run=folder.name).split()
        screen.log(f"In {folder}." + (f" Next: {shlex.join([*following, *arguments])}" if following else ""))
    if screen.stdout_error:
        raise UserError(f"Standard output cannot be written: {screen.stdout_error}. Make room for it.", ExitCode.SPACE)


def execute_recipe(
    command: str, overrides: list[str], recipe: "Recipe", screen: Screen, dry_run: bool, typed: list[str] | None = None
) -> dict[str, Any]:
    """Return the result of a command; if it is interrupted, print how to continue and raise typer.Exit.

    Args:
        typed: The overrides on the command line, if these stand for several recipes.
    """
    from vitrun.commands import runner
    from vitrun.recipes import own_folder

    try:
        return runner.execute_recipe(command, overrides, recipe, screen, dry_run)
    except Interrupted as interrupt:
        arguments = [*(typed or overrides), *own_folder.list_flags()]
        screen.warn(f"Stopped. To continue: vitrun {command} {shlex.join(arguments)}".rstrip())
        raise typer.Exit(interrupt.status) from None
