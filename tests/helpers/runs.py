"""Finished runs: pretrain one, return its folder, hash its weights."""

import hashlib
from pathlib import Path

from helpers.overrides import TINY
from vitrun.runs import run


def pretrain_tiny(run_command, *overrides: str):
    """Pretrain a tiny model; return the folder of the run."""
    recipe, _ = run_command("pretrain", *TINY, *overrides)
    return recipe.runs / run.run_name("pretrain", recipe)


def hash_weights(folder) -> dict[str, str]:
    """Return the hash of each file of weights in the last checkpoint."""
    (last,) = folder.glob("*/checkpoints/step-*")
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in last.glob("*.safetensors")}


def run_folder(recipe, command: str) -> Path:
    """Return the folder of the run of a recipe."""
    return recipe.runs / run.run_name(command, recipe)
