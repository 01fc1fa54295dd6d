"""The files of a run folder, and how they are read."""

from pathlib import Path
from typing import Any

import yaml

from vitrun.errors import ExitCode, UserError
from vitrun.recipes import RECIPE_FILE
from vitrun.runtime.files import read_json

ABOUT_FILE = "about.json"  # code, libraries, machine and fingerprints of the data
METRICS_FILE = "metrics.jsonl"
LOG_FILE = "log.txt"
RESULT_FILE = "result.json"  # only a finished run has it
LOCK_FILE = "lock"
CHECKPOINTS_FOLDER = "checkpoints"
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, if PyYAML was built with it: ten times as fast


def find_runs(runs: Path) -> list[Path]:
    """Return the folders of all runs, by name."""
    return sorted(file.parent for file in runs.glob(f"*/{RECIPE_FILE}"))


def find_finished_runs(runs: Path) -> list[Path]:
    """Return the folders of all finished runs, by name."""
    return [folder for folder in find_runs(runs) if (folder / RESULT_FILE).exists()]


def load_recipe(folder: Path) -> dict[str, Any] | None:
    """Return ``recipe.yaml``: ``command``, ``model`` (at least its ``name``) and every option of the command.

    None if there is no such file; raise UserError if it is damaged.
    """
    path = folder / RECIPE_FILE
    if not path.is_file():
        return None
    try:
        recipe = yaml.load(path.read_text(encoding="utf-8"), YAML_LOADER)
        if not isinstance(recipe, dict) or "command" not in recipe or not isinstance(recipe.get("data"), dict):
            raise ValueError("it is not the recipe of a run")
    except (ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} is damaged ({reason}). Delete its folder and run again.", ExitCode.CHECKPOINT
        ) from None
    return recipe


def load_result(folder: Path) -> dict[str, Any] | None:
    """Return ``result.json``: the ``result``, and the time at which the run ``finished``; None if it is not finished."""
    content = read_json(folder / RESULT_FILE)
    if content is None:
        return None
    if not (isinstance(content.get("result"), dict) and isinstance(content.get("finished"), float)):
        raise UserError(
            f"{folder / RESULT_FILE} is not a result of vitrun. Delete {folder}, or move it out of {folder.parent}.",
            ExitCode.CHECKPOINT,
        )
    return content


def load_about(folder: Path) -> dict[str, Any]:
    """Return ``about.json``; empty if there is none."""
    return read_json(folder / ABOUT_FILE) or {}
