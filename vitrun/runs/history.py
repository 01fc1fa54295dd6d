"""History of a run: what its ``metrics.jsonl`` has of each step, as few points for a curve."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitrun.runs.run_files import METRICS_FILE
from vitrun.runtime.files import parse_json, read_regular_file

TRAINING_KEYS = ("loss", "lr")  # of the line of a training step
MAX_LINES = 20_000  # of the steps of a run that are parsed: of more every second, third ... is
MAX_POINTS = 200  # of a curve: a point is the mean over the steps around it
MAX_STEP = 10**12  # a higher number is none of a step
Curve = list[tuple[float, float]]  # step, value


@dataclass(frozen=True)
class History:
    """Curves of a run, and when it was started."""

    started: tuple[str, ...] = ()  # times of its attempts, as in 2026-01-31T12:00:00+0000
    steps: int = 0  # the last one that was trained
    training: dict[str, Curve] = field(default_factory=dict)  # by name: loss, lr
    measured: dict[str, Curve] = field(default_factory=dict)  # during training: few-shot accuracy, evaluations


def read_history(folder: Path, max_lines: int = MAX_LINES) -> History:
    """Return the history in the folder of a run; one without steps if it has none.

    A resumed run repeats the steps after its last checkpoint: the last attempt counts. Lines that are not JSON, which a
    killed process may leave, and values that are not finite numbers are passed over.
    """
    try:
        lines = read_regular_file(folder / METRICS_FILE).splitlines()
    except (OSError, ValueError):
        return History()
    is_step = [b'"norm"' in line for line in lines]
    stride = -(-sum(is_step) // max_lines) or 1
    started, training, measured, seen = [], dict[int, dict[str, Any]](), dict[str, dict[int, Any]](), 0
    for line, is_training in zip(lines, is_step):
        seen += is_training
        if is_training and seen % stride and line is not lines[-1]:
            continue
        values = parse_line(line)
        if isinstance(step := values.get("step"), int) and 0 <= step < MAX_STEP:
            if is_training:
                drop_repeated(training, step)
                training[step] = values
            else:
                add_measured(measured, values)
        elif isinstance(values.get("started"), str):
            started.append(values["started"])
    curves = {key: thin_out(select_finite((step, v.get(key)) for step, v in training.items())) for key in TRAINING_KEYS}
    return History(
        tuple(started),
        max(training, default=0),
        {key: curve for key, curve in curves.items() if curve},
        {key: curve for key, values in measured.items() if (curve := list(select_finite(values.items())))},
    )


def parse_line(line: bytes) -> dict[str, Any]:
    """Return the object in a line; empty if it is none."""
    try:
        values = parse_json(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def drop_repeated(steps: dict[int, Any], step: int) -> None:
    """Remove the steps from ``step`` on, which an earlier attempt has written, from a dict in their order."""
    while steps and (last := next(reversed(steps))) >= step:
        del steps[last]


def add_measured(measured: dict[str, dict[int, Any]], line: dict[str, Any]) -> None:
    """Add the values of a line that was measured during training to those of each name, by step.

    Lines of one step may have other names, and a resumed run repeats some of them.
    """
    for key, value in line.items():
        if key not in ("attempt", "step"):
            steps = measured.setdefault(key, {})
            drop_repeated(steps, line["step"])
            steps[line["step"]] = value


def select_finite(values: Iterable[tuple[int, Any]]) -> Iterator[tuple[float, float]]:
    """Yield each step whose value is a finite number, with it."""
    for step, value in values:
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
            yield float(step), float(value)


def thin_out(points: Iterable[tuple[float, float]], number: int = MAX_POINTS) -> Curve:
    """Return at most ``number`` points: means over neighbours, each at the mean of their steps."""
    every = list(points)
    size = math.ceil(len(every) / number) or 1
    chunks = [every[first : first + size] for first in range(0, len(every), size)]
    return [(sum(x for x, _ in chunk) / len(chunk), sum(y for _, y in chunk) / len(chunk)) for chunk in chunks]
