"""The metrics of a run as a table, ``metrics.csv``."""

import csv
from itertools import chain
from pathlib import Path
from typing import Any

from vitrun.runs.history import add_measured, drop_repeated
from vitrun.runs.run_files import METRICS_FILE, read_json_lines


def write_metrics_table(folder: Path, path: Path) -> None:
    """Write a row for each step that ``metrics.jsonl`` of a run has, and a column for each value.

    Evaluations and probes are in the row of their step. If a step was repeated after resuming, the last
    attempt counts.
    """
    training: dict[int, dict[str, Any]] = {}  # lines of training steps
    measured: dict[str, dict[int, Any]] = {}  # values of other lines, by their names
    for line in read_json_lines(folder / METRICS_FILE, "step"):
        if not isinstance(step := line["step"], int):
            continue
        if "norm" in line:
            drop_repeated(training, step)
            training[step] = {key: value for key, value in line.items() if key != "attempt"}
        else:
            add_measured(measured, line)
    rows = {step: training.get(step, {"step": step}) for step in sorted({*training, *chain(*measured.values())})}
    for name, values in measured.items():
        for step, value in values.items():
            rows[step][name] = value
    columns = dict.fromkeys(["step", *(key for row in rows.values() for key in row)])
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())
