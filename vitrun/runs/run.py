"""The run folder: its name, what is in it, and how a command is carried out in it. All but its lock is written here."""

import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.recipes import RECIPE_FILE, trees
from vitrun.runs import checkpoints
from vitrun.runs.lookup import model_name_of, weights_fingerprint
from vitrun.runs.metrics import to_plain
from vitrun.runs.run_files import (
    ABOUT_FILE,
    CHECKPOINTS_FOLDER,
    LOCK_FILE,
    LOG_FILE,
    METRICS_FILE,
    RESULT_FILE,
    load_about,
    load_recipe,
    load_result,
)
from vitrun.runtime import distributed
from vitrun.runtime.console import Progress, Screen
from vitrun.runtime.environment import describe_environment
from vitrun.runtime.files import write_atomic
from vitrun.runtime.process import handle_stop_signals, hold_lock

MAX_FAILED_SAVES = 3  # in a row, before a run gives up


class Run:
    """The folder of one recipe, and what a command may do there; of several ranks the first alone writes."""

    def __init__(self, command: str, recipe: Any, screen: Screen, dry: bool = False):
        self.command, self.recipe, self.screen, self.dry = command, recipe, screen, dry
        self.writes = not dry and distributed.rank() == 0
        self.name = run_name(command, recipe)
        self.folder = recipe.runs / self.name
        self.checkpoints = self.folder / CHECKPOINTS_FOLDER
        self.requested_exit: ExitCode | None = None
        self.failed_saves = 0
        self.log_writable = True  # until a line could not be written
        self.attempt = 0
        self.computing: dict[str, Any] = {}  # on what and how a network is trained, where one is
        self.log, self.warn = screen.log, screen.warn

    @property
    def result(self) -> dict | None:
        """What the finished run found; None while it is not finished."""
        return load_result(self.folder)

    @property
    def saved_recipe(self) -> dict[str, Any]:
        """What ``recipe.yaml`` says: the command, every option, and the model's name where that is no option."""
        tree = {"command": self.command, **trees.to_plain_tree(self.recipe)}
        if "model" not in tree and getattr(self.recipe, "init", None):
            tree["model"] = {"name": model_name_of(self.recipe.init, self.recipe.runs)}
        return tree

    @property
    def can_resume(self) -> bool:
        """Whether there is a checkpoint, or a finished part, to go on from."""
        return any(self.checkpoints.glob("step-*")) or any(self.read_metrics("part"))

    def prepare_folder(self) -> None:
        """Make the folder, its recipe and its log."""
        if not self.writes:
            return
        text = yaml.safe_dump(self.saved_recipe, sort_keys=False)
        self.attempt = 1 + sum(1 for _ in self.read_metrics("started"))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.write_file(RECIPE_FILE, lambda partial: partial.write_text(text, encoding="utf-8"))
            self.update_about(weights=self.weights_fingerprint)
        except OSError as error:
            raise self.unwritable_error(self.folder, error.strerror) from None
        except UserError:
            self.remove_if_unstarted()
            raise
        self.screen.listeners.append(self.write_log_line)
        self.log_metrics(
            {"attempt": self.attempt, "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "argv": sys.argv[1:]}
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Inside, the folder is there and no other process works in it."""
        self.prepare_folder()
        with hold_lock(self.folder / LOCK_FILE, self.name) if self.writes else nullcontext():
            yield

    def write_log_line(self, text: str) -> None:
        """Add a line to ``log.txt``."""
        self.append_line(LOG_FILE, f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}")

    def log_metrics(self, figures: dict[str, Any]) -> None:
        """Add a line to ``metrics.jsonl``. A resumed run repeats steps under a higher attempt: the last one counts."""
        self.append_line(METRICS_FILE, json.dumps({"attempt": self.attempt, **figures}))

    def append_line(self, file: str, line: str) -> None:
        """Add a line to a file of the run, behind what a killed process may have left of one.

        Where that cannot be, a warning says so once, and the run goes on.
        """
        if not self.writes:
            return
        try:
            with open(self.folder / file, "ab+") as lines:
                if lines.tell() and lines.seek(-1, os.SEEK_END) >= 0 and lines.read(1) != b"\n":
                    lines.write(b"\n")
                lines.write(f"{line}\n".encode(errors="backslashreplace"))
            self.log_writable = True
        except OSError as error:
            if self.log_writable:
                self.log_writable = False
                self.warn(
                    f"Could not write to {self.folder / file}: {error.strerror}. The run goes on without its lines."
                )

    def read_metrics(self, key: str) -> Iterator[dict]:
        """The lines of ``metrics.jsonl`` that have ``key``."""
        path = self.folder / METRICS_FILE
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
            try:
                figures = json.loads(line)
            except ValueError:  # a killed process may leave half a line
                continue
            if key in figures:
                yield figures

    def unwritable_error(self, path: Path, why: Any) -> UserError:
        """The error for a file or folder of the run that cannot be written."""
        return UserError(f"Cannot write {path}: {why}. Make room, or choose another place: runs=FOLDER", ExitCode.SPACE)

    @property
    def weights_fingerprint(self) -> str | None:
        """The code of the weights that the run begins from; None where it has none, or they are gone."""
        with suppress(UserError):
            return (
                weights_fingerprint(self.recipe.init, self.recipe.runs) if getattr(self.recipe, "init", None) else None
            )

    def check_unchanged(self) -> None:
        """A UserError where the folder of this name holds another recipe, or the same on weights that were others."""
        there = None
        with suppress(UserError):  # a damaged one is written anew
            there = load_recipe(self.folder)
        if there is not None and serialize_computed_options(there, self.recipe) != serialize_computed_options(
            self.saved_recipe, self.recipe
        ):
            raise UserError(
                f"{self.folder / RECIPE_FILE} is not what this command computes. Choose another place: runs=FOLDER",
                ExitCode.CHECKPOINT,
            )
        before, now = load_about(self.folder).get("weights"), self.weights_fingerprint
        if before and now and before != now:
            raise UserError(
                f"The weights of init={self.recipe.init} changed since {self.name} began from them: their code is "
                f"{now[:12]}, was {before[:12]}. Delete {self.folder} to start afresh.",
                ExitCode.CHECKPOINT,
            )

    def update_about(self, **facts: Any) -> None:
        """Write ``about.json``: code, libraries, machine, weights and data; stop where the data changed since then."""
        if not self.writes:
            return
        before = load_about(self.folder)
        for key, value in facts.items():
            if key.endswith("data") and before.get(key, value) != value:
                raise UserError(
                    f"The data changed since {self.name} began: fingerprint {value}, was {before[key]}. "
                    f"Restore it, or delete {self.folder} to start afresh.",
                    ExitCode.DATA,
                )
        about = {**before, "vitrun": version("vitrun"), **describe_environment(), **facts}
        self.write_json(ABOUT_FILE, about)

    def check_disk_space(self, needed: int) -> None:
        """A UserError (exit 6) where the disk has not the ``needed`` bytes of a checkpoint."""
        place = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        if (free := shutil.disk_usage(place).free) < needed:
            raise UserError(
                f"A checkpoint of this run takes {needed / 1e6:,.1f} MB, and the disk of {self.recipe.runs} has "
                f"{free / 1e6:,.1f} MB. Make room, or choose another place: runs=FOLDER",
                ExitCode.SPACE,
            )

    def newest_checkpoint(self) -> Path | None:
        """The newest sound checkpoint of this run: all ranks take that which the first has verified."""
        if self.dry:
            return None
        found = distributed.call_on_rank_zero(lambda: str(checkpoints.find_newest(self.checkpoints, self.warn) or ""))
        return Path(found) if found else None

    def request_exit(self, status: ExitCode) -> None:
        """Take the request that the run end, with this exit status."""
        self.requested_exit = status

    def raise_if_interrupted(self, _: int = 0) -> None:
        """Raise Interrupted where the user asked the run to end."""
        if self.requested_exit is not None:
            raise Interrupted(self.requested_exit)

    def progress_callback(self, bar: Progress) -> Callable[[int], None]:
        """A ``tick`` that also moves a bar of images."""

        def count(images: int) -> None:
            bar.update(min(bar.done + images * distributed.world_size(), bar.total), "images")  # the ranks keep pace
            self.raise_if_interrupted()

        return count

    def save_checkpoint(
        self, step: int, write: Callable[[Path], None], needed: int, final: bool, facts: dict[str, Any]
    ) -> bool:
        """Save a checkpoint of about ``needed`` bytes, and tell whether that worked; the ``final`` replaces all others.

        A full disk costs a warning at first, the run after three failures, or where the final one fails.
        """
        if not self.writes:
            return True
        started = time.monotonic()
        try:
            self.checkpoints.mkdir(exist_ok=True)
            free = shutil.disk_usage(self.checkpoints).free
            if free < needed:
                raise OSError(f"it needs {needed / 1e6:,.1f} MB and the disk has {free / 1e6:,.1f} MB")
            saved = checkpoints.save(self.checkpoints, step, write, {"recipe": self.name, **facts})
            if final:
                checkpoints.keep_only(self.checkpoints, saved)
            self.failed_saves = 0
            self.write_log_line(f"saved step {step} in {time.monotonic() - started:.1f} s")
            return True
        except Exception as error:  # torch and safetensors report a full disk each in their own class
            if final:
                stands = (
                    "The checkpoint before stands: make" if checkpoints.list_checkpoints(self.checkpoints) else "Make"
                )
                raise UserError(
                    f"Could not save the last step, {step}: {error}. {stands} room, and the same command goes on from "
                    "what is there.",
                    ExitCode.SPACE,
                ) from None
            self.failed_saves += 1
            self.warn(f"Could not save step {step}: {error}. Training goes on; the checkpoint before stands.")
            if self.failed_saves >= MAX_FAILED_SAVES:
                raise UserError(
                    f"Gave up after {MAX_FAILED_SAVES} failed saves: {error}. Make room and run again.", ExitCode.SPACE
                ) from None
            return False

    def write_file(self, file: str, write: Callable[[Path], object]) -> None:
        """Write a file of the run with :func:`write_atomic`; raise UserError (exit 6) if it cannot be written."""
        if not self.writes:
            return
        try:
            write_atomic(self.folder / file, write)
        except OSError as error:
            raise self.unwritable_error(self.folder / file, error.strerror or error) from None

    def write_json(self, file: str, content: dict[str, Any]) -> None:
        """Write a JSON file of the run with :meth:`write_file`."""
        self.write_file(file, lambda partial: partial.write_text(json.dumps(content, indent=2), encoding="utf-8"))

    def finish(self, result: dict[str, Any]) -> None:
        """Write ``result.json``: from now on the run is finished."""
        self.write_json(RESULT_FILE, {"result": result, "finished": time.time()})

    def remove_if_unstarted(self) -> None:
        """Remove the folder of a run that failed before it had done anything."""
        idle = self.attempt == 1 and not self.can_resume and not any(self.read_metrics("step"))
        if self.writes and idle and not self.checkpoints.exists():
            shutil.rmtree(self.folder)


def execute_run(
    command: str, recipe: Any, screen: Screen, main: Callable[[Any, Run], dict], dry: bool = False, note: str = ""
) -> dict:
    """The result of a command in its run folder: begun, resumed, or read where it is finished already.

    A result that names something ``missing`` is not the last override: the command goes on from it as from a part.
    """
    run = Run(command, recipe, screen, dry)
    if dry:
        run.log(f"{command}: a rehearsal of {run.name}{note}; nothing is written")
        return to_plain(main(recipe, run))
    if set(distributed.all_gather_object(run.name)) != {run.name}:
        raise UserError("The ranks do not begin from the same weights: name them, as in init=RUN.", ExitCode.CHECKPOINT)
    run.check_unchanged()
    done = distributed.call_on_rank_zero(lambda: run.result)
    if done is not None and "missing" not in done["result"]:  # what it lacked may be there now: the command looks again
        run.log(
            f"{command}: {run.name} is finished; this is its result, and nothing is read anew "
            f"(delete {run.folder} to run it again)"
        )
        return done["result"]
    begun = done is not None or distributed.call_on_rank_zero(lambda: run.can_resume)
    with handle_stop_signals(run.request_exit), run.locked():
        run.log(f"{command}: {'resumes' if begun else 'starts'} {run.name}{note}, writes {run.folder}")
        try:
            result = to_plain(main(recipe, run))
        except UserError as mistake:
            run.write_log_line(f"stopped: {mistake}")
            run.remove_if_unstarted()
            raise
        run.finish(result)
    return result


def serialize_computed_options(tree: dict[str, Any], recipe: Any) -> str:
    """As text all that a recipe's tree computes: everything but how."""
    return json.dumps(
        {key: value for key, value in tree.items() if key not in recipe.execution_options}, sort_keys=True
    )


def run_name(command: str, recipe: Any) -> str:
    """A run's name: command, model (or test set), data and eight hex digits of everything that the recipe computes."""
    code = hashlib.sha256(serialize_computed_options(trees.to_plain_tree(recipe), recipe).encode()).hexdigest()[:8]
    if hasattr(recipe, "against"):
        first = recipe.against.name
    else:
        first = recipe.model.name if hasattr(recipe, "model") else model_name_of(recipe.init, recipe.runs)
    return re.sub(r"[^A-Za-z0-9._-]+", "_", f"{command}-{first}-{recipe.data.name}-{code}")
