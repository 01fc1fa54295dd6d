"""Kill a run again and again, resume it each time, and compare its weights and losses with an uninterrupted run."""

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from helpers.overrides import TINY
from helpers.processes import CommandProcess
from helpers.runs import hash_weights
from vitrun.runs import checkpoints, run_files

STEPS_A_KILL = 5  # more than an attempt takes on average, so that the run does not end before the last kill
MISSES = 4  # saves in which a stage is not seen
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
    weights: tuple[dict[str, str], dict[str, str]] = ({}, {})  # SHA-256 of each file, uninterrupted and killed
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
    whole = CommandProcess(*arguments, f"runs={folder / 'whole'}")
    check_exit(result, whole, 0)
    usual = 1.0  # seconds from the start of an attempt to its first save
    while result.kills < kills and not result.problems:
        aimed = result.kills % 2 == 1
        process, begun = CommandProcess(*arguments, f"runs={folder / 'killed'}"), time.monotonic()
        if aimed:
            usual = wait_for_stage(process, folder / "killed", random_.choice(STAGES), random_.randint(1, 3)) - begun
        else:
            time.sleep(random_.uniform(0, 1.2 * usual))
        process.process.kill()
        check_exit(result, process, -signal.SIGKILL)
        result.kills, result.aimed = result.kills + 1, result.aimed + aimed
        if stage := find_stage(folder / "killed"):
            result.inside[stage] = result.inside.get(stage, 0) + 1
        result.seconds = time.monotonic() - started
        report(result)
    check_exit(result, CommandProcess(*arguments, f"runs={folder / 'killed'}"), 0)
    compare(result, folder)
    result.seconds = time.monotonic() - started
    return result


def check_exit(result: Soak, process: CommandProcess, expected: int) -> None:
    """Wait for an attempt to end; note it if its exit code is not the expected one."""
    output = process.wait()
    if process.returncode != expected:
        result.problems.append(f"exit code {process.returncode} after {result.kills} kills: {output[-1000:]}")


def wait_for_stage(process: CommandProcess, runs: Path, stage: str, saves: int) -> float:
    """Wait until this attempt has begun ``saves`` saves and one is in a stage; return when the first one began.

    A stage may be too short to be seen: after a few more saves any stage will do.
    """
    limit, seen, first = time.monotonic() + PATIENCE_SECONDS, set[str](), time.monotonic()
    while time.monotonic() < limit and process.is_running():
        seen |= {path.name for path in runs.glob(f"*/checkpoints/.tmp-step-*-{process.pid}")}
        first = first if seen else time.monotonic()
        if len(seen) >= saves and find_stage(runs) in (stage, *STAGES[: len(STAGES) * (len(seen) > saves + MISSES)]):
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
