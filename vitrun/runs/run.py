"""The run folder: its name, what is in it, and how a verb is carried out in it. All but its lock is written here."""

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

from vitrun.errors import Exit, Mistake, Stopped
from vitrun.recipes import trees
from vitrun.runs import checkpoints
from vitrun.runs.lookup import model_of, outcome, recipe_of, weights_code
from vitrun.runtime import distributed, files
from vitrun.runtime.console import Progress, Screen
from vitrun.runtime.environment import surroundings
from vitrun.runtime.files import read_json
from vitrun.runtime.process import alone, stoppable

FAILED_SAVES = 3  # in a row, before a run gives up


class Run:
    """The folder of one recipe, and what a verb may do there; of several ranks the first alone writes."""

    def __init__(self, verb: str, recipe: Any, screen: Screen, dry: bool = False):
        self.verb, self.recipe, self.screen, self.dry = verb, recipe, screen, dry
        self.writes = not dry and distributed.rank() == 0
        self.name = name(verb, recipe)
        self.folder = recipe.runs / self.name
        self.checkpoints = self.folder / "checkpoints"
        self.stop: Exit | None = None
        self.failed_saves = 0
        self.logs = True  # until a line could not be written
        self.attempt = 0
        self.computing: dict[str, Any] = {}  # on what and how a network is trained, where one is
        self.say, self.warn = screen.say, screen.warn

    @property
    def result(self) -> dict | None:
        """What the finished run found; None while it is not finished."""
        return outcome(self.folder)

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint, or a finished part, to go on from."""
        return any(self.checkpoints.glob("step-*")) or any(self.metrics("part"))

    def begin(self) -> None:
        """Make the folder, its recipe and its log."""
        if not self.writes:
            return
        text = yaml.safe_dump(trees.plain(self.recipe), sort_keys=False)
        self.attempt = 1 + sum(1 for _ in self.metrics("started"))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.write("recipe.yaml", lambda aside: aside.write_text(text, encoding="utf-8"))
            self.about(weights=self.weights)
        except OSError as error:
            raise self.unwritable(self.folder, error.strerror) from None
        except Mistake:
            self.leave()
            raise
        self.screen.listeners.append(self.log_line)
        self.log({"attempt": self.attempt, "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "argv": sys.argv[1:]})

    @contextmanager
    def begun_alone(self) -> Iterator[None]:
        """Inside, the folder is there and no other process works in it."""
        self.begin()
        with alone(self.folder / "lock", self.name) if self.writes else nullcontext():
            yield

    def log_line(self, text: str) -> None:
        """Add a line to ``log.txt``."""
        self.append("log.txt", f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}")

    def log(self, figures: dict[str, Any]) -> None:
        """Add a line to ``metrics.jsonl``. A resumed run repeats steps under a higher attempt: the last one counts."""
        self.append("metrics.jsonl", json.dumps({"attempt": self.attempt, **figures}))

    def append(self, file: str, line: str) -> None:
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
            self.logs = True
        except OSError as error:
            if self.logs:
                self.logs = False
                self.warn(
                    f"Could not write to {self.folder / file}: {error.strerror}. The run goes on without its lines."
                )

    def metrics(self, key: str) -> Iterator[dict]:
        """The lines of ``metrics.jsonl`` that have ``key``."""
        path = self.folder / "metrics.jsonl"
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
            try:
                figures = json.loads(line)
            except ValueError:  # a killed process may leave half a line
                continue
            if key in figures:
                yield figures

    def unwritable(self, path: Path, why: Any) -> Mistake:
        """The error for a file or folder of the run that cannot be written."""
        return Mistake(f"Cannot write {path}: {why}. Make room, or choose another place: runs=FOLDER", Exit.SPACE)

    @property
    def weights(self) -> str | None:
        """The code of the weights that the run begins from; None where it has none, or they are gone."""
        with suppress(Mistake):
            return weights_code(self.recipe.init, self.recipe.runs) if getattr(self.recipe, "init", None) else None

    def check(self) -> None:
        """A Mistake where the folder of this name holds another recipe, or the same on weights that were others."""
        there = None
        with suppress(Mistake):  # a damaged one is written anew
            there = recipe_of(self.name, self.recipe.runs)
        if there is not None and computed(there, self.recipe) != computed(trees.plain(self.recipe), self.recipe):
            raise Mistake(
                f"{self.folder / 'recipe.yaml'} is not what this command computes. Choose another place: runs=FOLDER",
                Exit.CHECKPOINT,
            )
        before, now = (read_json(self.folder / "about.json") or {}).get("weights"), self.weights
        if before and now and before != now:
            raise Mistake(
                f"The weights of init={self.recipe.init} changed since {self.name} began from them: their code is "
                f"{now[:12]}, was {before[:12]}. Delete {self.folder} to start afresh.",
                Exit.CHECKPOINT,
            )

    def about(self, **facts: Any) -> None:
        """Write ``about.json``: code, libraries, machine, weights and data; stop where the data changed since then."""
        if not self.writes:
            return
        path = self.folder / "about.json"
        before = read_json(path) or {}
        for key, value in facts.items():
            if key.endswith("data") and before.get(key, value) != value:
                raise Mistake(
                    f"The data changed since {self.name} began: fingerprint {value}, was {before[key]}. "
                    f"Restore it, or delete {self.folder} to start afresh.",
                    Exit.DATA,
                )
        found = {**before, "vitrun": version("vitrun"), **surroundings(), **facts}
        self.write("about.json", lambda aside: aside.write_text(json.dumps(found, indent=2), encoding="utf-8"))

    def check_room(self, needed: int) -> None:
        """A Mistake (exit 6) where the disk has not the ``needed`` bytes of a checkpoint."""
        place = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        if (free := shutil.disk_usage(place).free) < needed:
            raise Mistake(
                f"A checkpoint of this run takes {needed / 1e6:,.1f} MB, and the disk of {self.recipe.runs} has "
                f"{free / 1e6:,.1f} MB. Make room, or choose another place: runs=FOLDER",
                Exit.SPACE,
            )

    def newest_checkpoint(self) -> Path | None:
        """The newest sound checkpoint of this run: all ranks take that which the first has verified."""
        if self.dry:
            return None
        found = distributed.once(lambda: str(checkpoints.newest(self.checkpoints, self.warn) or ""))
        return Path(found) if found else None

    def ask(self, status: Exit) -> None:
        """Take the request that the run end, with this exit status."""
        self.stop = status

    def tick(self, _: int = 0) -> None:
        """Raise Stopped where the user asked the run to end."""
        if self.stop is not None:
            raise Stopped(self.stop)

    def counter(self, bar: Progress) -> Callable[[int], None]:
        """A ``tick`` that also moves a bar of images."""

        def count(images: int) -> None:
            bar.update(min(bar.done + images * distributed.size(), bar.total), "images")  # the ranks keep pace
            self.tick()

        return count

    def save(self, step: int, write: Callable[[Path], None], needed: int, final: bool, facts: dict[str, Any]) -> bool:
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
            self.log_line(f"saved step {step} in {time.monotonic() - started:.1f} s")
            return True
        except Exception as error:  # torch and safetensors report a full disk each in their own class
            if final:
                stands = "The checkpoint before stands: make" if checkpoints.steps(self.checkpoints) else "Make"
                raise Mistake(
                    f"Could not save the last step, {step}: {error}. {stands} room, and the same command goes on from "
                    "what is there.",
                    Exit.SPACE,
                ) from None
            self.failed_saves += 1
            self.warn(f"Could not save step {step}: {error}. Training goes on; the checkpoint before stands.")
            if self.failed_saves >= FAILED_SAVES:
                raise Mistake(
                    f"Gave up after {FAILED_SAVES} failed saves: {error}. Make room and run again.", Exit.SPACE
                ) from None
            return False

    def write(self, file: str, put: Callable[[Path], None]) -> None:
        """A file of the run, written aside by ``put`` and renamed; a Mistake (exit 6) where it cannot be."""
        if not self.writes:
            return
        aside = self.folder / f".{file}.{os.getpid()}"
        try:
            put(aside)
            files.synchronise(aside)
            os.replace(aside, self.folder / file)
        except OSError as error:
            raise self.unwritable(self.folder / file, error.strerror or error) from None
        finally:
            aside.unlink(missing_ok=True)

    def finish(self, result: dict[str, Any]) -> None:
        """Write ``result.json``: from now on the run is finished."""
        finished = {"result": result, "finished": time.time()}
        self.write("result.json", lambda aside: aside.write_text(json.dumps(finished, indent=2), encoding="utf-8"))

    def leave(self) -> None:
        """Remove the folder of a run that failed before it had done anything."""
        idle = self.attempt == 1 and not self.begun and not any(self.metrics("step"))
        if self.writes and idle and not self.checkpoints.exists():
            shutil.rmtree(self.folder)


def carry_out(verb: str, recipe: Any, screen: Screen, main: Callable[[Any, Run], dict], dry: bool = False) -> dict:
    """The result of a verb in its run folder: begun, resumed, or read where it is finished already.

    A result that names something ``missing`` is not the last word: the verb goes on from it as from a part.
    """
    run = Run(verb, recipe, screen, dry)
    if dry:
        run.say(f"{verb}: a rehearsal of {run.name}; nothing is written")
        return main(recipe, run)
    if set(distributed.each(run.name)) != {run.name}:
        raise Mistake("The ranks do not begin from the same weights: name them, as in init=RUN.", Exit.CHECKPOINT)
    run.check()
    done = distributed.once(lambda: run.result)
    if done is not None and "missing" not in done["result"]:  # what it lacked may be there now: the verb looks again
        run.say(
            f"{verb}: {run.name} is finished; this is its result, and nothing is read anew "
            f"(delete {run.folder} to run it again)"
        )
        return done["result"]
    begun = done is not None or distributed.once(lambda: run.begun)
    with stoppable(run.ask), run.begun_alone():
        run.say(f"{verb}: {'resumes' if begun else 'starts'} {run.name}, writes {run.folder}")
        try:
            result = main(recipe, run)
        except Mistake as mistake:
            run.log_line(f"stopped: {mistake}")
            run.leave()
            raise
        run.finish(result)
    return result


def computed(tree: dict[str, Any], recipe: Any) -> str:
    """As text all that a recipe's tree computes: everything but how."""
    return json.dumps({key: value for key, value in tree.items() if key not in recipe.how}, sort_keys=True)


def name(verb: str, recipe: Any) -> str:
    """A run's name: verb, model (or test set), data and eight hex digits of everything that the recipe computes."""
    code = hashlib.sha256(computed(trees.plain(recipe), recipe).encode()).hexdigest()[:8]
    if hasattr(recipe, "against"):
        first = recipe.against.name
    else:
        first = recipe.model.name if hasattr(recipe, "model") else model_of(recipe.init)
    return re.sub(r"[^A-Za-z0-9._-]+", "_", f"{verb}-{first}-{recipe.data.name}-{code}")
