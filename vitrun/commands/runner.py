"""Resolve the recipe of one command and execute it: what the command line and Python share."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vitrun import commands
from vitrun.config import provenance, resolve, unused
from vitrun.config.own_files import describe_replaced_files
from vitrun.errors import UserError, described_os_errors
from vitrun.recipes import Recipe, RunRecipe
from vitrun.runs.execution import execute_run
from vitrun.runs.naming import run_name
from vitrun.runtime import distributed
from vitrun.runtime.console import Screen


def resolve_recipe(
    command: str,
    overrides: list[str],
    running: bool = True,
    dry: bool = False,
    bare: Mapping[str, tuple[str, ...]] | None = None,
) -> Any:
    """Return the checked recipe of a command; raise a UserError if an override is wrong or has no effect.

    Rank 0 goes first, and all ranks raise the same error.

    Args:
        running: Whether the recipe is to run; one that is only shown may leave open where the images are.
        dry: Whether its run is to write nothing.
        bare: Lists that arguments without a key add to, such as the paths of predict.
    """
    with distributed.propagate_errors(), distributed.rank_zero_first():
        recipe = resolve.resolve_recipe(command, overrides, running=running, pinning=running and not dry)
        unused.check_unused(command, [(overrides, recipe)])
    return replace(recipe, **{option: (*getattr(recipe, option), *values) for option, values in (bare or {}).items()})


def execute_recipe(command: str, overrides: list[str], recipe: Recipe, screen: Screen, dry: bool) -> dict[str, Any]:
    """Return the plain result of a command; raise Interrupted if it is asked to stop.

    Args:
        overrides: Those that ``recipe`` was resolved from, for the lines that say what differs from a paper's recipe.
    """

    if (on := getattr(recipe, "on", None)) is not None and not dry:
        why = "plans a run for devices elsewhere and runs nothing: add --dry-run (in Python dry_run=True)."
        raise UserError(why, option="on", value=on)

    def execute(recipe: Recipe, output: Any) -> Any:
        for line in provenance.describe_deviations(command, overrides, recipe):
            output.log(line)
        for line in describe_replaced_files(command, overrides, recipe):
            output.log(line)
        return commands.import_command(command).execute(recipe, output)  # imports torch, so it comes last

    if not isinstance(recipe, RunRecipe):
        with described_os_errors():
            result: dict[str, Any] = execute(recipe, screen)
        return result
    with distributed.propagate_errors():
        note = provenance.describe_fallback(command, overrides)
        result = execute_run(command, recipe, screen, execute, dry, note)
    if recipe.report and not dry and distributed.rank() == 0:
        folder = recipe.runs / run_name(command, recipe)
        commands.import_command("report").write_run_report(folder, screen)
    return result
