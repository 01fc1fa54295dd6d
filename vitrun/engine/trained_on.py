"""Test images that the weights have been trained on, because another part of the same folder was held out then."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from vitrun import data, recipes
from vitrun.data.sources.registry import find_source
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import trees
from vitrun.runs import content
from vitrun.runs.lookup import find_run_folder, trace_init
from vitrun.runs.run import CONTENT
from vitrun.runs.run_files import load_about
from vitrun.runtime.console import Screen

SHARE_OPTIONS = ("test_share", "split_seed")  # that choose the test images of one folder
PART_OPTIONS = ("train", "test")  # that name the folders or tables of the parts


def check_not_trained_on(
    recipe: recipes.Eval | recipes.Finetune | recipes.Fewshot, test: data.Split, warn: Callable[[str], None]
) -> None:
    """Warn for each run of ``init`` that was trained on test images; ``eval`` with another share raises UserError."""
    for sentence, before in find_overlaps(recipe.init or "", recipe, test):
        typed = next((option for option in before if option in SHARE_OPTIONS), None)
        if isinstance(recipe, recipes.Eval) and typed:
            why = f"{sentence} Leave it out, and the test images are those of that run."
            value = trees.format_value(getattr(recipe.data, typed))
            raise UserError(why, ExitCode.DATA, f"{recipe.data.group}.{typed}", value)
        options = " ".join(f"data.{option}={trees.format_value(value)}" for option, value in before.items())
        warn(f"{sentence} The accuracy is not that on new images (that run has {options}).")


def find_overlaps(init: str, recipe: Any, test: data.Split) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a sentence for each run of ``init`` that trained on test images, and its options that differ."""
    source = recipe.data
    if not isinstance(source, recipes.Files) or source.path is None:
        return
    for name, saved in trace_init(init, recipe.runs):
        before = saved["data"]
        options = {key: before.get(key) for key in (*SHARE_OPTIONS, *PART_OPTIONS)}
        changed = {key: value for key, value in options.items() if value != getattr(source, key)}
        if changed and is_same_set(before, load_about(find_run_folder(name, recipe.runs)).get(CONTENT), source):
            keys = set(
                find_source(source).open(replace(source, **changed), "train", Screen(quiet=True), lambda: None).keys
            )
            if number := sum(key in keys for key in test.keys):
                yield f"{number:,} of the {len(test):,} test images were training images of {name}.", changed


def is_same_set(before: Mapping[str, Any], identified: Any, source: recipes.Files) -> bool:
    """Return whether the data set of a run is ``source``: by its place, or by what was ``identified`` there."""
    if before.get("source") != "files" or not before.get("path"):
        return False
    if os.path.realpath(before["path"]) == os.path.realpath(source.path or ""):
        return True
    now = content.identify_content({"data": trees.to_plain_tree(source)})
    return isinstance(identified, dict) and identified.get("data.path") == now["data.path"]
