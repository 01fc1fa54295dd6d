"""Finished and interrupted runs: pretrain one, end it early, return its folder, hash its weights."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.overrides import TINY
from vitrun.config import resolve
from vitrun.runs import checkpoints, metrics, naming, run
from vitrun.runtime import files


def pretrain_tiny(run_command, *overrides: str):
    """Pretrain a tiny model; return the folder of the run."""
    recipe, _ = run_command("pretrain", *TINY, *overrides)
    return recipe.runs / run.run_name("pretrain", recipe)


@contextmanager
def interrupted_after(last: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the run of this block abruptly, where it saves its first checkpoint after step ``last``."""
    save = checkpoints.save

    def save_until_last(folder, step, write, facts):
        if step > last:
            raise KeyboardInterrupt  # as if the process ended here
        return save(folder, step, write, facts)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoints, "save", save_until_last)
        yield


def hash_weights(folder) -> dict[str, str]:
    """Return the hash of each file of weights in the last checkpoint."""
    (last,) = folder.glob("*/checkpoints/step-*")
    return {f.name: files.hash_file(f) for f in last.glob("*.safetensors")}


def run_folder(recipe, command: str) -> Path:
    """Return the folder of the run of a recipe."""
    return recipe.runs / run.run_name(command, recipe)


def write_finished_run(
    runs: Path, overrides: tuple[str, ...], result: dict[str, Any], more: dict[str, Any], images: str = ""
) -> str:
    """Write the folder of a finished run with this result, some options set afterwards; return its name."""
    command, *rest = (override.format(here=runs.parent) for override in overrides)
    made = resolve.resolve_recipe(command, [*rest, f"runs={runs}"])
    folder = runs / run.run_name(command, made)
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(naming.to_saved_tree(command, made) | more))
    (folder / "about.json").write_text(json.dumps({"train_data": images, "torch": "2"}))
    (folder / "result.json").write_text(json.dumps({"result": metrics.to_plain(result), "finished": 0.0}))
    return folder.name
