"""Execution of a command in its run folder: from the start, from where it stopped, or not at all if it is finished."""

import glob
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vitrun.errors import ExitCode, UserError
from vitrun.recipes import RECIPE_FILE, RunnableRecipe
from vitrun.runs import run_files
from vitrun.runs.content import describe_state, list_places
from vitrun.runs.metrics import check_finite, to_plain
from vitrun.runs.naming import serialize_computed_options, to_saved_tree
from vitrun.runs.run import STATES, Run
from vitrun.runs.run_checkpoints import OTHER_FOLDER
from vitrun.runtime import distributed, heartbeat
from vitrun.runtime.console import Screen
from vitrun.runtime.stop import handle_stop_signals


def execute_run(
    command: str,
    recipe: RunnableRecipe,
    screen: Screen,
    execute: Callable[[Any, Run], dict[str, Any]],
    dry: bool = False,
    note: str = "",
) -> dict[str, Any]:
    """Execute a command in its run folder, from the start or from where it stopped; return the plain result.

    The first line that is logged names what is executed, followed by ``note``.

    A finished run returns its result without executing anything, unless the result names something as ``missing``,
    which may exist by now. Raise Interrupted if a signal stops it.
    """
    run = Run(command, recipe, screen, dry)
    heartbeat.set_rank_timeout(getattr(recipe, "rank_timeout", heartbeat.RANK_SECONDS))
    if dry:
        run.log(f"{command}: dry run of {run.name}{note}; nothing is written")
        return to_plain(execute(recipe, run))
    if set(distributed.all_gather_object(run.name)) != {run.name}:
        why = "The ranks find different weights or data. Give all hosts the same files; name weights, as in init=RUN."
        raise UserError(why, ExitCode.CHECKPOINT)
    check_unchanged(run)
    finished = distributed.call_on_rank_zero(lambda: run.result)
    if finished is not None and "missing" not in finished:
        with suppress(UserError):  # its data may have moved, and its folder may be read-only
            run.write_recipe()
        run.log(f"{command}: {run.name} is finished; this is its result (delete {run.folder} to run it again)")
        return finished
    resuming = finished is not None or distributed.call_on_rank_zero(lambda: run.can_resume)
    if not resuming:
        distributed.call_on_rank_zero(lambda: check_data_unchanged(run))
    with handle_stop_signals(run.request_exit, screen.end_process), run.locked():
        run.log(f"{command}: {'resuming' if resuming else 'starting'} {run.name}{note}, writing to {run.folder}")
        with record_failure(run):
            result = to_plain(execute(recipe, run))
            check_finite(run.name, result)
        run.finish(result)
    return result


@contextmanager
def record_failure(run: Run) -> Iterator[None]:
    """Write a UserError inside to the log and the metrics of a run; remove the run's folder if it has not started."""
    try:
        yield
    except UserError as error:
        run.write_log_line(f"stopped: {error}")
        run.log_metrics({run_files.FAILED_KEY: str(error), "status": int(error.status)})
        run.remove_if_unstarted()
        raise


def check_unchanged(run: Run) -> None:
    """Raise UserError if the folder of a run has another recipe, or the weights of ``init`` have changed.

    Warn if data files were touched of which not every byte counts.
    """
    saved = None
    with suppress(UserError):  # a damaged recipe is replaced
        saved = run_files.load_recipe(run.folder)
    tree = to_saved_tree(run.command, run.recipe)
    if saved is not None and (
        serialize_computed_options(saved, run.recipe) != serialize_computed_options(tree, run.recipe)
    ):
        raise UserError(
            f"{run.folder / RECIPE_FILE} is not the recipe of this command. Delete it, {OTHER_FOLDER}",
            ExitCode.CHECKPOINT,
        )
    about = run_files.load_about(run.folder)
    before, now = about.get("weights"), run.weights_fingerprint
    if before and now and before != now:
        raise UserError(
            f"the weights have changed since {run.name} started from them: their fingerprint is {now[:12]}, it "
            f"was {before[:12]}. Delete {run.folder} to start again.",
            ExitCode.CHECKPOINT,
            option="init",
            value=run.init,
        )
    warn_if_touched(run, about.get(STATES), describe_state(tree))


def check_data_unchanged(run: Run) -> None:
    """Raise UserError if a run of the same options has stopped before its end, and its data have changed since.

    It has another name because of that, and this one would start from step 0.
    """
    tree = to_saved_tree(run.command, run.recipe)
    places, options = list_places(tree), serialize_computed_options(tree, run.recipe)
    start = run.name.rpartition("-")[0]
    for folder in sorted(run.recipe.runs.glob(f"{glob.escape(start)}-*")) if places else ():
        is_finished = (folder / run_files.RESULT_FILE).exists()
        if folder == run.folder or is_finished or not any((folder / run_files.CHECKPOINTS_FOLDER).glob("step-*")):
            continue
        saved = None
        with suppress(UserError):  # a damaged recipe
            saved = run_files.load_recipe(folder)
        if saved and list_places(saved) == places and serialize_computed_options(saved, run.recipe) == options:
            raise data_changed_error(folder, places)


def data_changed_error(folder: Path, places: dict[str, str]) -> UserError:
    """Return the UserError about data that have changed since the run in ``folder`` started on them."""
    option = next(iter(places))
    return UserError(
        f"its files have changed since {folder.name} started on them, which has not finished. Restore them to continue "
        f"it, or delete {folder} to start again.",
        ExitCode.DATA,
        option,
        places[option],
    )


def warn_if_touched(run: Run, before: Any, now: dict[str, str]) -> None:
    """Warn if the state of data is not as ``before``, of which not every byte counts in the name of the run."""
    changed = [option for option, state in now.items() if isinstance(before, dict) and before.get(option) != state]
    if changed:
        run.warn(
            f"Files of {' and '.join(changed)} were written, replaced or copied since {run.name} started. Their names "
            "and sizes are as before; not every byte is compared of so many. If images were replaced by others of the "
            f"same size, delete {run.folder} to start again."
        )
