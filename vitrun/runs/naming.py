"""Name of a run, and the recipe that is written into its folder."""

import hashlib
import json
import re
from typing import Any

from vitrun.recipes import Dedup, Pretrain, RunnableRecipe, trees
from vitrun.runs.lookup import model_name_of

NAME_DIGITS = 8  # hex digits


def run_name(command: str, recipe: RunnableRecipe) -> str:
    """Return a run's name: command, model (or test set), data, and a hash of every option that is computed."""
    text = serialize_computed_options(trees.to_plain_tree(recipe), recipe)
    digits = hashlib.sha256(text.encode()).hexdigest()[:NAME_DIGITS]
    if isinstance(recipe, Dedup):
        first = recipe.against.name
    else:
        first = recipe.model.name if isinstance(recipe, Pretrain) else model_name_of(recipe.init, recipe.runs)
    return re.sub(r"[^A-Za-z0-9._-]+", "_", f"{command}-{first}-{recipe.data.name}-{digits}")


def to_saved_tree(command: str, recipe: RunnableRecipe) -> dict[str, Any]:
    """Return the content of ``recipe.yaml``: command, every option, and the model's name if that is not an option."""
    tree = {"command": command, **trees.to_plain_tree(recipe)}
    if not isinstance(recipe, Pretrain) and recipe.init:
        tree["model"] = {"name": model_name_of(recipe.init, recipe.runs)}
    return tree


def serialize_computed_options(tree: dict[str, Any], recipe: RunnableRecipe) -> str:
    """Return as text the options that change what a recipe computes, without those of how it is executed."""
    computed = {key: value for key, value in tree.items() if key not in recipe.execution_options}
    return json.dumps(computed, sort_keys=True)
