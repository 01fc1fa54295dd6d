"""The metrics of a run as a table, ``metrics.csv``."""

import csv
from pathlib import Path
from typing import Any

from vitrun.runs.history import drop_repeated
from vitrun.runs.run_files import METRICS_FILE, read_json_lines


def write_metrics_table(folder: Path, path: Path) -> None:
    """Write a row for each step that ``metrics.jsonl`` of a run has, and a column for each value.

    What was measured on the way is in the row of its step. Of a step that was repeated after a resumption the last
    attempt counts.
    """
    kinds: dict[bool, dict[int, dict[str, Any]]] = {True: {}, False: {}}  # lines of training steps, and other lines
    for line in read_json_lines(folder / METRICS_FILE, "step"):
        if isinstance(step := line["step"], int):
            steps = kinds["norm" in line]
            drop_repeated(steps, step)
            steps[step] = {key: value for key, value in line.items() if key != "attempt"}
    rows = {
        step: kinds[True].get(step, {}) | kinds[False].get(step, {}) for step in sorted({*kinds[True], *kinds[False]})
    }
    columns = dict.fromkeys(["step", *(key for row in rows.values() for key in row)])
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())
