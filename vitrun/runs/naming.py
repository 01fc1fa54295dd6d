"""Name of a run, and the recipe that is written into its folder."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitrun.recipes import RECIPE_FILE, Dedup, Pretrain, RunnableRecipe, trees
from vitrun.runs.content import drop_places, identify_content
from vitrun.runs.lookup import model_name_of, weights_fingerprint

NAME_DIGITS = 8  # hex digits
EVALUATION_OPTIONS = ("eval", "keep")
TEACHER_OPTIONS = ("teacher", "unlabelled", "pseudo", "rounds")  # no part of a name where there is no teacher


def run_name(command: str, recipe: RunnableRecipe) -> str:
    """Return a run's name: command, model (or test set), data, and a hash of every option and content that it is of.

    A run whose data or weights have moved since has the name that it was given there.
    """
    tree = trees.to_plain_tree(recipe)
    text = serialize_computed_options(tree, recipe)
    if content := identify_content(tree):
        text += json.dumps(content, sort_keys=True)
    if teacher := getattr(recipe, "teacher", None):
        text += weights_fingerprint(teacher, recipe.runs, "teacher")
    digits = hashlib.sha256(text.encode()).hexdigest()[:NAME_DIGITS]
    if isinstance(recipe, Dedup):
        first = recipe.against.name
    else:
        first = recipe.model.name if isinstance(recipe, Pretrain) else model_name_of(recipe.init, recipe.runs)
    images = recipe.data.name if recipe.data else "images" if getattr(recipe, "images", ()) else "weights"
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{command}-{first}-{images}-{digits}")
    return name if (recipe.runs / name).exists() else find_same_run(command, digits, recipe.runs) or name


def find_same_run(command: str, digits: str, runs: Path) -> str | None:
    """Return the name of the run with the same hash, whatever its data and weights were called; None if not there."""
    return next((file.parent.name for file in sorted(runs.glob(f"{command}-*-{digits}/{RECIPE_FILE}"))), None)


def to_saved_tree(command: str, recipe: RunnableRecipe) -> dict[str, Any]:
    """Return the content of ``recipe.yaml``: command, every option, and the model's name if that is not an option."""
    tree = {"command": command, **trees.to_plain_tree(recipe)}
    if not isinstance(recipe, Pretrain) and recipe.init:
        tree["model"] = {"name": model_name_of(recipe.init, recipe.runs)}
    return tree


def serialize_computed_options(tree: dict[str, Any], recipe: RunnableRecipe) -> str:
    """Return as text the options that change what a recipe computes: see :func:`select_computed_options`."""
    computed = select_computed_options(tree, recipe.execution_options)
    if not isinstance(recipe, Pretrain):
        computed.pop("model", None)  # its name, which may be that of the file of weights
    return json.dumps(computed, sort_keys=True)


def select_computed_options(tree: dict[str, Any], execution_options: Sequence[str]) -> dict[str, Any]:
    """Return the options that change what a recipe computes: not how it is executed, nor where files lie.

    Evaluations during training do so only if they choose the weights or end the training.
    """
    outside = (*execution_options, *list_showing_options(tree))
    if tree.get("teacher") is None:
        outside = (*outside, *TEACHER_OPTIONS)
    return {key: value for key, value in drop_places(tree).items() if key not in outside}


def list_showing_options(options: dict[str, Any]) -> tuple[str, ...]:
    """Return the options of evaluations during training, unless these choose the weights or end the training."""
    evaluation = options.get("eval")
    patience = evaluation.get("patience") if isinstance(evaluation, dict) else None
    return () if options.get("keep") == "best" or patience is not None else EVALUATION_OPTIONS
