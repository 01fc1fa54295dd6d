"""Kill a run again and again, resume it each time, and compare its weights and losses with an uninterrupted run."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from helpers import forks
from helpers.overrides import TINY
from helpers.runs import hash_weights
from vitrun.runs import checkpoints, run_files

STEPS_A_KILL = 3  # more than an attempt takes on average, so that the run does not end before the last kill
MISSES = 4  # saves in which a stage may be missed
PATIENCE_SECONDS = 60.0  # for an attempt to reach what it is to be killed at
OVERRIDES = [
    *(override for override in TINY if not override.startswith(("steps=", "batch="))),
    *("batch=16", "micro_batch=4", "save_minutes=0", "ema=0.9", "augment.mixup=0.2"),
    *("model.dropout=0.1", "model.stochastic_depth=0.1"),
]
# A save is in progress while a partial folder has so many files, or while LATEST names an older checkpoint.
STAGES = ("made", "1 file", "2 files", "3 files", "4 files", "before LATEST")


@dataclass
class Soak:
    """What happened to a run that was killed, and what it ended with."""

    steps: int
    kills: int = 0
    aimed: int = 0  # kills aimed at a save
    inside: dict[str, int] = field(default_factory=dict)  # kills that left a save in that stage
    resumed_from: list[int] = field(default_factory=list)
    rejected: int = 0  # checkpoints
    problems: list[str] = field(default_factory=list)  # attempts that did not end as they were to
    weights: tuple[dict[str, str], dict[str, str]] = ({}, {})  # hash of each file, uninterrupted and killed
    losses_equal: bool = False
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Return whether the killed run ended as the uninterrupted one."""
        first, second = self.weights
        return bool(first) and first == second and self.losses_equal and not self.problems and not self.rejected


def soak(folder: Path, kills: int, seed: int, report: Callable[[Soak], None] = lambda _: None) -> Soak:
    """Train without and with ``kills`` SIGKILLs, half of them aimed at saves; ``report`` is called after each."""
    result, random_, started = Soak(STEPS_A_KILL * kills + 4), random.Random(seed), time.monotonic()
    arguments = ["pretrain", *OVERRIDES, f"steps={result.steps}"]
    forks.preload([("pretrain", arguments[1:])])
    whole, killed = (Attempts(result, arguments, folder / name) for name in ("whole", "killed"))
    whole.start()
    whole.end(0)
    usual = 1.0  # seconds from the start of an attempt to its first save
    while result.kills < kills and not (killed.finished or result.problems):
        aimed = result.kills % 2 == 1
        killed.start()
        begun = time.monotonic()
        if aimed:
            usual = killed.wait_for_stage(random_.choice(STAGES), random_.randint(1, 3)) - begun
        else:
            time.sleep(random_.uniform(0, 1.2 * usual))
        killed.end(-signal.SIGKILL)
        result.kills, result.aimed = result.kills + (not killed.finished), result.aimed + aimed
        if stage := find_stage(killed.runs):
            result.inside[stage] = result.inside.get(stage, 0) + 1
        result.seconds = time.monotonic() - started
        report(result)
    killed.start()
    killed.end(0)
    compare(result, folder)
    result.seconds = time.monotonic() - started
    return result


class Attempts:
    """Processes that train one run, one after another."""

    def __init__(self, result: Soak, arguments: list[str], runs: Path):
        self.result, self.arguments, self.runs = result, [*arguments, f"runs={runs}"], runs
        self.output = runs.with_suffix(".txt")
        self.finished = False

    def start(self) -> None:
        """Start an attempt."""
        self.child = forks.start_fork(self.output, forks.run_app, self.arguments)

    def end(self, expected: int) -> None:
        """Kill the attempt if that is how it is to end, else wait for it; note another exit code."""
        if expected == -signal.SIGKILL:
            os.kill(self.child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
        self.finished = status == 0
        if status != expected and not self.finished:
            output = self.output.read_text(encoding="utf-8")[-1000:]
            self.result.problems.append(f"exit code {status} after {self.result.kills} kills: {output}")

    def is_running(self) -> bool:
        """Return whether the attempt has not ended."""
        return os.waitid(os.P_PID, self.child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def wait_for_stage(self, stage: str, saves: int) -> float:
        """Wait until the attempt has begun ``saves`` saves and one is in a stage; return when the first one began.

        A stage may be too short to be seen: after a few more saves any stage will do.
        """
        limit, seen, first = time.monotonic() + PATIENCE_SECONDS, set[str](), time.monotonic()
        while time.monotonic() < limit and self.is_running():
            seen |= {path.name for path in self.runs.glob(f"*/checkpoints/.tmp-step-*-{self.child}")}
            first = first if seen else time.monotonic()
            if len(seen) >= saves and find_stage(self.runs) in (stage, *STAGES[: 9 * (len(seen) > saves + MISSES)]):
                break
            time.sleep(0.0002)
        return first


def find_stage(runs: Path) -> str | None:
    """Return the stage of the save that is in progress, or was when the process was killed; None if there is none."""
    for folder in runs.glob("*/checkpoints"):
        for partial in folder.glob(".tmp-step-*"):
            return STAGES[min(len(list(partial.glob("[!.]*"))), 4)]
        newest = checkpoints.list_checkpoints(folder)[-1:]
        latest = folder / "LATEST"
        if newest and (not latest.exists() or latest.read_text().strip() != newest[0].name):
            return STAGES[-1]
    return None


def compare(result: Soak, folder: Path) -> None:
    """Compare the weights and losses of both runs; count what the log of the killed one tells."""
    if result.problems:
        return
    result.weights = hash_weights(folder / "whole"), hash_weights(folder / "killed")
    result.losses_equal = read_losses(folder / "whole") == read_losses(folder / "killed")
    (log,) = (folder / "killed").glob("*/log.txt")
    lines = log.read_text(encoding="utf-8").splitlines()
    result.rejected = sum("  Rejected step-" in line for line in lines)
    result.resumed_from = [
        int(line.split("from step ")[1].split()[0]) for line in lines if "Resuming from step" in line
    ]


def read_losses(runs: Path) -> dict[int, float]:
    """Return the loss of each step, of the last attempt that took it."""
    (file,) = runs.glob(f"*/{run_files.METRICS_FILE}")
    return {line["step"]: line["loss"] for line in run_files.read_json_lines(file, "step")}
