"""Call of one command from Python: what it prints or logs, and how it ends."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from vitrun.api.options import check_lists, flatten_options
from vitrun.api.result import Result
from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.runtime import hub_bars
from vitrun.runtime.console import Screen
from vitrun.runtime.ranks import read_ranks

LOGGER = logging.getLogger("vitrun")
Overrides = Sequence[str]


class PythonScreen(Screen):
    """Output of a command called from Python: printed as on the command line, or if ``quiet`` logged."""

    def log(self, text: str) -> None:
        """Log a line at level INFO, or print it."""
        if self.quiet and self.enabled:
            LOGGER.info(text)
        super().log(text)

    def write_escaped(self, text: str) -> None:
        """Print a line, unless the command is quiet: what it says is returned."""
        if not self.quiet:
            print(text, flush=True)

    def warn(self, text: str) -> None:
        """Log a line at level WARNING, which Python shows on standard error if no handler is set."""
        for listener in self.listeners:
            listener(text)
        if self.enabled:
            LOGGER.warning(text)

    def end_process(self, status: int) -> None:
        """Leave the call at once, not the process."""
        raise KeyboardInterrupt


def run_command(command: str, overrides: Overrides, quiet: bool, dry_run: bool, options: dict[str, Any]) -> Result:
    """Return the result of a command that makes a run."""
    from vitrun.runs.run import run_name

    recipe, content = execute(command, overrides, options, quiet, dry_run)
    name = run_name(command, recipe)
    return Result(name, recipe.runs / name, content)


def execute(
    command: str, overrides: Overrides, options: Mapping[str, Any], quiet: bool, dry_run: bool = False
) -> tuple[Any, dict[str, Any]]:
    """Return the recipe of a command and its result; SIGTERM ends the program with exit code 143, as it always does."""
    if isinstance(overrides, Mapping):
        raise UserError("A dictionary of options is passed as keyword arguments, with two stars: **options.")
    if not isinstance(quiet, bool) or not isinstance(dry_run, bool):
        name, value = ("dry_run", dry_run) if isinstance(quiet, bool) else ("quiet", quiet)
        raise UserError("must be True or False.", option=name, value=str(value))
    pairs = dict(flatten_options(options))
    given = [overrides] if isinstance(overrides, str) else [*overrides]
    given += [f"{key}={value}" for key, value in pairs.items()]
    if (ranks := read_ranks(os.environ).size) > 1:
        raise UserError(
            f"A Python program calls vitrun in one process, not in {ranks}: start "
            f"`torchrun ... -m vitrun {command}` for several."
        )
    from vitrun.commands import runner

    check_lists(command, pairs)
    try:
        with hub_bars.hidden(quiet):
            recipe = runner.resolve_recipe(command, given, dry=dry_run)
            return recipe, runner.execute_recipe(command, given, recipe, PythonScreen(quiet), dry_run)
    except Interrupted as interrupt:
        if interrupt.status == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt("stopped; the same call continues from the checkpoint") from None
        raise SystemExit(int(interrupt.status)) from None
