"""Files of a run folder, and how they are read."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from vitrun.errors import ExitCode, UserError
from vitrun.recipes import RECIPE_FILE
from vitrun.runtime.files import parse_json, read_end, read_json, read_small_text
from vitrun.runtime.yaml_text import load_yaml

ABOUT_FILE = "about.json"  # code, libraries, machine and fingerprints of the data
METRICS_FILE = "metrics.jsonl"
METRICS_TABLE_FILE = "metrics.csv"  # the same as a table, written when the command ends
LOG_FILE = "log.txt"
RESULT_FILE = "result.json"  # only a finished run has it
LOCK_FILE = "lock"
CHECKPOINTS_FOLDER = "checkpoints"
WRITTEN_FILES = r"[a-z_]+\.(yaml|json|parquet|txt|csv|svg|png|html)"  # those that appear whole in a run folder
MAX_ORDER = 2**53  # a whole number that every reader of JSON has exactly
FAILED_KEY = "failed"  # of the line of metrics.jsonl that an error which ended a run writes
MAX_LAST_LINE = 65_536  # bytes


def find_runs(runs: Path) -> list[Path]:
    """Return the folders of all runs, by name; raise OSError if ``runs`` cannot be listed."""
    if runs.is_dir():
        os.listdir(runs)  # glob passes over a folder without permission
    return sorted(file.parent for file in runs.glob(f"*/{RECIPE_FILE}"))


def find_finished_runs(runs: Path) -> list[Path]:
    """Return the folders of all finished runs, by name."""
    return [folder for folder in find_runs(runs) if (folder / RESULT_FILE).exists()]


def load_recipe(folder: Path) -> dict[str, Any]:
    """Return ``recipe.yaml``: ``command``, ``model`` (at least its ``name``) and every option of the command.

    Raise UserError if there is no such file or it is damaged.
    """
    path = folder / RECIPE_FILE
    try:
        recipe = deepcopy(load_recipe_text(read_small_text(path)))
        if not is_recipe(recipe):
            raise ValueError("it is not the recipe of a run")
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} is damaged ({reason}). Delete its folder and run again.", ExitCode.CHECKPOINT
        ) from None
    return recipe


@lru_cache(1024)  # of 3 KB each: a table of many runs reads the recipe of a run's weights again and again
def load_recipe_text(text: str) -> Any:
    """Return the values of a recipe's text, which are shared: copy them."""
    return load_yaml(text)


def is_recipe(content: Any) -> bool:
    """Return whether the content of a file is a recipe, as far as other runs use it."""
    if not isinstance(content, dict) or not isinstance(content.get("command"), str) or not has_plain_values(content):
        return False
    rows = [content.get("model", {"name": ""})]
    if content.get("data") is not None or "images" not in content:  # a run may have images of no data set
        rows.append(content.get("data"))
    named = all(isinstance(row, dict) and isinstance(row.get("name"), str) for row in rows)
    return named and isinstance(content.get("init"), str | None)


def has_plain_values(content: dict[str, Any]) -> bool:
    """Return whether JSON has all keys and values: YAML also has dates, bytes, sets, and null or a number as a key."""
    try:
        json.dumps(content, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def load_result(folder: Path) -> dict[str, Any] | None:
    """Return the result of a run as :mod:`vitrun.runs.metrics` describes it; None if it is not finished."""
    content = load_result_file(folder)
    return content and content["result"]


def finish_order(folder: Path) -> tuple[int, float]:
    """Return what sorts runs by when they finished: their number in this folder of runs, then the time.

    A clock may be wrong: the time only decides between runs of equal number, as of one that was copied here.
    """
    content = load_result_file(folder)
    return (content.get("order", 0), content["finished"]) if content else (0, 0.0)


def next_order(runs: Path) -> int:
    """Return a number above that of every finished run; damaged ones have none."""
    orders = [0]
    for run in find_finished_runs(runs):
        with suppress(UserError):
            orders.append(finish_order(run)[0])
    return min(max(orders) + 1, MAX_ORDER)


def load_result_file(folder: Path) -> dict[str, Any] | None:
    """Return ``result.json``; None if there is none; raise UserError if it is damaged."""
    content = read_json(folder / RESULT_FILE)
    if content is None:
        return None
    is_ordered = type(order := content.get("order", 0)) is int and 0 <= order <= MAX_ORDER
    if is_result(content.get("result")) and is_time(content.get("finished")) and is_ordered:
        return content
    raise UserError(
        f"{folder / RESULT_FILE} is not a result of vitrun. Delete {folder}, or move it out of {folder.parent}.",
        ExitCode.CHECKPOINT,
    )


def is_result(value: Any) -> bool:
    """Return whether a value has the form of a result, as far as it is printed."""
    metrics = value.get("metrics", {}) if isinstance(value, dict) else None
    return isinstance(metrics, dict) and all(isinstance(metric, dict) for metric in metrics.values())


def is_time(value: Any) -> bool:
    """Return whether a value is a time in seconds since 1970."""
    return isinstance(value, float) and math.isfinite(value)


def load_about(folder: Path) -> dict[str, Any]:
    """Return ``about.json``; empty if there is none."""
    return read_json(folder / ABOUT_FILE) or {}


def find_failure(folder: Path) -> str:
    """Return the error that ended the last attempt of a run; empty if none did.

    Only the last line of ``metrics.jsonl`` is read: a resumed run has written others since.
    """
    try:
        last = parse_json((read_end(folder / METRICS_FILE, MAX_LAST_LINE).splitlines() or [b""])[-1])
    except (OSError, ValueError):  # a killed process may leave half a line
        return ""
    return str(last.get(FAILED_KEY, "")) if isinstance(last, dict) else ""


def append_line(path: Path, line: str) -> None:
    """Append a line to a file, after ending a half line that a killed process may have left; may raise OSError."""
    with open(path, "ab+") as file:
        if file.tell() and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n":
            file.write(b"\n")
        file.write(f"{line}\n".encode(errors="backslashreplace"))


def read_json_lines(path: Path, key: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of a file that are JSON objects with ``key``; none if there is no file."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            values = parse_json(line)
        except ValueError:  # a killed process may leave half a line
            continue
        if isinstance(values, dict) and key in values:
            yield values
