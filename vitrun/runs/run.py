"""Run: the folder of one recipe, and everything that is written into it."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from vitrun.errors import ExitCode, Interrupted, UserError, advise_writing
from vitrun.recipes import RECIPE_FILE, RunnableRecipe, trees
from vitrun.runs import checkpoints, run_files
from vitrun.runs.content import describe_state, identify_content
from vitrun.runs.lookup import weights_fingerprint
from vitrun.runs.metrics_table import write_metrics_table
from vitrun.runs.naming import run_name, to_saved_tree
from vitrun.runs.run_checkpoints import OTHER_FOLDER, RunCheckpoints
from vitrun.runs.run_log import GONE
from vitrun.runs.tracking import TrackedRun, Tracking, make_key
from vitrun.runtime import distributed
from vitrun.runtime.console import Progress, Screen
from vitrun.runtime.environment import describe_environment
from vitrun.runtime.files import remove_partials, retry, write_atomic
from vitrun.runtime.process import hold_folder, hold_lock
from vitrun.runtime.stop import interrupt

STATES = "data_states"  # in about.json: the state of large data sets, whose fingerprints do not cover every byte
CONTENT = "data_content"  # in about.json: the fingerprints of data in the name of the run, by option
TRACKING_KEY = "tracked_as"  # in about.json: the key of the run in trackers


class Run(RunCheckpoints):
    """Folder of one recipe, and what a command does there; only rank 0 writes.

    Only this class creates files in it, except for the lock. A ``dry`` run writes nothing.
    """

    def __init__(self, command: str, recipe: RunnableRecipe, screen: Screen, dry: bool = False):
        writes = not dry and distributed.rank() == 0
        super().__init__(recipe.runs / run_name(command, recipe), screen, writes, dry)
        self.command, self.recipe, self.screen = command, recipe, screen
        self.tracking = Tracking(recipe.track if self.writes else (), self.describe_for_trackers, screen.warn)
        self.made_folder = False  # whether this process made the folder
        self.computing: dict[str, Any] = {}  # device, precision, ranks and threads of training

    @property
    def result(self) -> dict[str, Any] | None:
        """Return the result of the finished run; None if it is not finished."""
        return run_files.load_result(self.folder)

    def prepare_folder(self) -> None:
        """Write the recipe and the facts of this start, and start the log; remove partial files of killed processes."""
        try:
            remove_partials(self.folder, run_files.WRITTEN_FILES)
            remove_partials(self.checkpoints, checkpoints.LATEST_FILE)
            self.attempt = 1 + sum(1 for _ in self.read_metrics("started"))
            self.write_recipe()
            self.update_about(weights=self.weights_fingerprint, **self.describe_first_state())
        except OSError as error:
            raise self.unwritable_error(self.folder, error) from None
        except UserError:
            self.remove_if_unstarted()
            raise
        self.screen.listeners.append(self.write_log_line)
        self.log_metrics({"started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "argv": sys.argv[1:]})

    def describe_first_state(self) -> dict[str, Any]:
        """Return what identifies the data if this is the first start; else nothing."""
        if STATES in run_files.load_about(self.folder):
            return {}
        tree = to_saved_tree(self.command, self.recipe)
        return {STATES: describe_state(tree), CONTENT: identify_content(tree)}

    def write_recipe(self) -> None:
        """Write ``recipe.yaml`` unless it is the same already; it changes if its data have moved."""
        text = yaml.safe_dump(to_saved_tree(self.command, self.recipe), sort_keys=False)
        file = self.folder / RECIPE_FILE
        if not file.is_file() or file.read_bytes() != text.encode():
            self.write_file(RECIPE_FILE, lambda place: place.write_text(text, encoding="utf-8"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, hold its lock and prepare it; raise UserError if another process holds the lock."""
        with ExitStack() as stack:
            if self.writes:
                lock = self.folder / run_files.LOCK_FILE
                try:
                    self.made_folder = not self.folder.is_dir()
                    self.folder.mkdir(parents=True, exist_ok=True)
                    stack.enter_context(hold_lock(lock, self.name, self.warn))
                except OSError as error:
                    raise self.unwritable_error(lock, error) from None
                self.prepare_folder()
            stack.callback(self.finish_logging)
            stack.callback(self.finish_saving)
            yield

    def describe_for_trackers(self) -> TrackedRun:
        """Return the description of this run for trackers; its key is the same at every start."""
        key = run_files.load_about(self.folder).get(TRACKING_KEY) or make_key(self.name)
        self.update_about(**{TRACKING_KEY: key})
        options = to_saved_tree(self.command, self.recipe)
        flat = {option: trees.get_value(options, option) for option in trees.iterate_keys(options)}
        saved = self.last_logged("saved")
        lines = [line for line in self.read_metrics("step", int) if line["step"] > saved]
        return TrackedRun(self.name, self.folder, key, flat, saved, lines)

    def finish_logging(self) -> None:
        """Close the trackers and write ``metrics.csv``; it is not an error of the run if that cannot be written."""
        with suppress(UserError):
            self.tracking.finish(self.result if self.writes else None)
            if self.writes and self.folder.is_dir():
                self.write_file(run_files.METRICS_TABLE_FILE, partial(write_metrics_table, self.folder))

    def unwritable_error(self, path: Path, error: Exception) -> UserError:
        """Return the error for a file or folder of the run that cannot be written."""
        if self.is_gone:
            return UserError(f"Cannot write {path}: {GONE}. Run the same command again.", ExitCode.SPACE)
        reason = getattr(error, "strerror", None) or error
        return UserError(f"Cannot write {path}: {reason}. {advise_writing(error)}, {OTHER_FOLDER}", ExitCode.SPACE)

    @property
    def init(self) -> str | None:
        """Return ``init``, the weights that the run starts from; None if its command has none."""
        return getattr(self.recipe, "init", None)

    @property
    def weights_fingerprint(self) -> str | None:
        """Return the fingerprint of the weights of ``init``; None without ``init``, or if the weights are deleted."""
        if self.init:
            with suppress(UserError):
                return weights_fingerprint(self.init, self.recipe.runs)
        return None

    def update_about(self, **facts: Any) -> None:
        """Write ``about.json``: code, libraries, machine, weights, data; raise UserError if the data have changed."""
        if not self.writes:
            return
        before = run_files.load_about(self.folder)
        for key, value in facts.items():
            if key.endswith("data") and before.get(key, value) != value:
                raise UserError(
                    f"The data have changed since {self.name} started: their fingerprint is {value}, it was "
                    f"{before[key]}. Restore them, or delete {self.folder} to start again.",
                    ExitCode.DATA,
                )
        about = {**before, "vitrun": version("vitrun"), **describe_environment(), **facts}
        self.write_json(run_files.ABOUT_FILE, about)

    def request_exit(self, status: ExitCode) -> None:
        """Raise Interrupted here or, while training, let :meth:`raise_if_interrupted` do so at the next safe point."""
        self.requested_exit = status
        interrupt(status)

    def raise_if_interrupted(self, _: int = 0) -> None:
        """Raise Interrupted if a signal has asked the run to stop."""
        if self.requested_exit is not None:
            raise Interrupted(self.requested_exit)

    def progress_callback(self, bar: Progress) -> Callable[[int], None]:
        """Return a function that advances a bar by a number of images, and raises Interrupted if the run is to stop."""

        def count(images: int) -> None:
            # All ranks are assumed to be equally fast.
            bar.update(min(bar.done + images * distributed.world_size(), bar.total), "images")
            self.raise_if_interrupted()

        return count

    def write_file(self, file: str, write: Callable[[Path], object]) -> None:
        """Write a file of the run with :func:`write_atomic`; raise UserError (exit code 6) if that fails."""
        if not self.writes:
            return
        try:
            retry(lambda: write_atomic(self.folder / file, write))
        except OSError as error:
            raise self.unwritable_error(self.folder / file, error) from None

    def write_json(self, file: str, content: dict[str, Any]) -> None:
        """Write a JSON file of the run with :meth:`write_file`."""
        self.write_file(file, lambda place: place.write_text(json.dumps(content, indent=2), encoding="utf-8"))

    def finish(self, result: dict[str, Any]) -> None:
        """Write ``result.json``, which marks the run as finished, and as the last one of its folder of runs."""
        if not self.writes:
            return
        with hold_folder(self.recipe.runs):  # several runs may finish at once
            order = run_files.next_order(self.recipe.runs)
            self.write_json(run_files.RESULT_FILE, {"result": result, "finished": time.time(), "order": order})

    def remove_if_unstarted(self) -> None:
        """Remove the folder of a run that failed before it did anything that is recorded."""
        is_unstarted = self.made_folder and not any(map(any, map(self.read_metrics, ("step", "skipped", "stopped"))))
        is_unstarted &= not self.can_resume
        if self.writes and is_unstarted and self.folder.exists() and not self.checkpoints.exists():
            shutil.rmtree(self.folder)
