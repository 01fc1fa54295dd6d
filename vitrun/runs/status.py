"""State of each run in a folder, from its files: nothing is locked or written."""

import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrun.errors import UserError
from vitrun.recipes.status import RunState
from vitrun.runs import run_files
from vitrun.runs.cost import count_step_images
from vitrun.runs.history import parse_line
from vitrun.runs.results import matches_name
from vitrun.runtime.files import read_end

OWNER = re.compile(r"pid (\d+) on (\S+) since")  # in the lock file of a run
MAX_OWNER = 4_096  # bytes of a lock file that are read
TAIL_BYTES = 65_536  # of metrics.jsonl that are read
EVALUATION_BYTES = 2**22  # of metrics.jsonl that are searched for the last evaluation
SPEED_STEPS = 20  # the last ones, from which speed and time left are computed
SCORES = {"top1": "top1", "AP": "ap"}  # metric -> field of RunStatus
SILENT_SECONDS = 600  # after which a run on another machine, whose processes cannot be seen, counts as stopped
ORDER: tuple[RunState, ...] = ("running", "stopped", "failed", "damaged", "finished")


@dataclass(frozen=True)
class RunStatus:
    """State of a run, and what its files say of its progress; None for what they do not say."""

    name: str
    state: RunState
    step: int | None = None
    steps: int | None = None  # in all
    loss: float | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    top1: float | None = None  # share: of a finished run, of others that of the last evaluation
    ap: float | None = None  # the same of a detector: COCO's AP
    changed: float | None = None  # time of the last line, in seconds since 1970
    error: str = ""


def list_statuses(runs: Path, only: Sequence[str] = ()) -> list[RunStatus]:
    """Return the status of each run in a folder: running ones first, finished ones last, then by their last change."""
    folders = [folder for folder in run_files.find_runs(runs) if matches_any(folder.name, only)]
    statuses = [read_status(folder) for folder in folders]
    return sorted(statuses, key=lambda one: (ORDER.index(one.state), -(one.changed or 0), one.name))


def matches_any(name: str, patterns: Sequence[str]) -> bool:
    """Return whether the name of a run matches one of the patterns, or there are none."""
    return not patterns or any(matches_name(name, pattern) for pattern in patterns)


def read_status(folder: Path) -> RunStatus:
    """Return the status of the run in a folder; one whose files cannot be read is damaged."""
    try:
        recipe, result = run_files.load_recipe(folder), run_files.load_result(folder)
        about = run_files.load_about(folder)
    except (UserError, OSError) as error:
        return RunStatus(folder.name, "damaged", error=str(error))
    lines = [values for values in read_tail(folder) if isinstance(values.get("step"), int) and "norm" in values]
    facts: dict[str, Any] = {"changed": last_change(folder), "steps": about.get("steps")}
    if lines:
        facts |= measure_progress(lines, count_step_images(recipe), facts["steps"])
    if result is not None:
        speed = result.get("images_per_second")  # of the whole attempt, with what is not training
        facts |= {**read_scores(result), "seconds_left": None, "images_per_second": speed}
        return RunStatus(folder.name, "finished", **facts)
    failure = run_files.find_failure(folder)
    evaluation = recipe.get("eval")
    if isinstance(evaluation, dict) and evaluation.get("every"):
        facts |= read_scores(find_last_evaluation(folder), "eval_")
    if is_running(folder, facts["changed"]):
        return RunStatus(folder.name, "running", **facts)
    return RunStatus(folder.name, "failed" if failure else "stopped", **facts | {"seconds_left": None}, error=failure)


def read_tail(folder: Path) -> list[dict[str, Any]]:
    """Return the last lines of the metrics of a run; none if it has none."""
    return [parse_line(line) for line in read_lines(folder, TAIL_BYTES).splitlines()]


def read_lines(folder: Path, limit: int) -> bytes:
    """Return the whole lines in the last ``limit`` bytes of the metrics of a run; empty if it has none."""
    try:
        text = read_end(folder / run_files.METRICS_FILE, limit)
    except (OSError, ValueError):
        return b""
    return text if len(text) < limit else text[text.find(b"\n") + 1 :]


def read_scores(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the scores that values have under their names with a prefix, by the fields of :class:`RunStatus`."""
    scores = {field: values.get(f"{prefix}{name}") for name, field in SCORES.items()}
    return {field: score for field, score in scores.items() if isinstance(score, float)}


def find_last_evaluation(folder: Path) -> dict[str, Any]:
    """Return the line of the last evaluation during training; empty if there was none."""
    text = read_lines(folder, EVALUATION_BYTES)
    place = max(text.rfind(f'"eval_{name}"'.encode()) for name in SCORES)
    return parse_line(text[text.rfind(b"\n", 0, place) + 1 :].partition(b"\n")[0]) if place >= 0 else {}


def measure_progress(lines: list[dict[str, Any]], batch: Any, steps: Any) -> dict[str, Any]:
    """Return step, loss, speed and time left from the last lines of training steps."""
    last = lines[-1]
    seconds = [line["seconds"] for line in lines[-SPEED_STEPS:] if isinstance(line.get("seconds"), float)]
    mean = sum(seconds) / len(seconds) if seconds else 0.0
    left = mean * (steps - last["step"]) if isinstance(steps, int) and mean else None
    return {
        "step": last["step"],
        "loss": last.get("loss"),
        "images_per_second": batch / mean if mean and isinstance(batch, int) else None,
        "seconds_left": left,
    }


def last_change(folder: Path) -> float | None:
    """Return when the metrics of a run were last written, in seconds since 1970; None if it has none."""
    try:
        return (folder / run_files.METRICS_FILE).stat().st_mtime
    except OSError:
        return None


def is_running(folder: Path, changed: float | None) -> bool:
    """Return whether a process holds the lock of a run; of one on another machine whether it wrote lately."""
    lock = folder / run_files.LOCK_FILE
    try:
        owner = OWNER.match(read_end(lock, MAX_OWNER).decode(errors="replace"))
        status = lock.stat()
    except (OSError, ValueError):
        return False
    if owner and owner[2] != platform.node():
        return changed is not None and time.time() - changed < SILENT_SECONDS
    try:
        locks = Path("/proc/locks").read_text().split()
    except OSError:  # not Linux: whether that process exists
        return owner is not None and process_exists(int(owner[1]))
    return f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}" in locks


def process_exists(pid: int) -> bool:
    """Return whether there is a process of that number."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def find_dependents(name: str, runs: Path) -> list[str]:
    """Return the runs that use another run: its weights, or the list of duplicates that it made."""
    dependents = []
    for folder in run_files.find_runs(runs):
        with suppress(UserError):  # a damaged recipe names none
            recipe = run_files.load_recipe(folder)
            used = [recipe.get("init"), recipe.get("dedup"), *(recipe.get("exclude") or ())]
            if name in used and folder.name != name:
                dependents.append(folder.name)
    return dependents
