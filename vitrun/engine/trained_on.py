"""Test images that the weights have been trained on, because another part of the same images was held out then."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitrun import data, recipes
from vitrun.data.sources.registry import open_source
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import trees
from vitrun.runs import content
from vitrun.runs.lookup import find_run_folder, trace_init
from vitrun.runs.run import CONTENT
from vitrun.runs.run_files import load_about

SHARE_OPTIONS = ("test_share", "split_seed")  # that choose the test images of one folder or table
DIGITS_OPTIONS = ("test_images",)  # that choose those of the digits
PART_OPTIONS = ("train", "test")  # that name the folders or tables of the parts
PLACE_OPTIONS = ("path", "hub", "config", "revision")  # that say which images these are


def check_not_trained_on(
    recipe: recipes.Eval | recipes.Finetune | recipes.Fewshot, test: data.Split, warn: Callable[[str], None]
) -> None:
    """Warn for each run of ``init`` that was trained on test images; ``eval`` with another share raises UserError."""
    for sentence, before in find_overlaps(recipe.init or "", recipe, test):
        typed = next((option for option in before if option not in PART_OPTIONS), None)
        if isinstance(recipe, recipes.Eval) and typed:
            why = f"{sentence} Without it, the test images are those of that run."
            value = trees.format_value(getattr(recipe.data, typed))
            raise UserError(why, ExitCode.DATA, f"{recipe.data.group}.{typed}", value)
        options = " ".join(f"data.{option}={trees.format_value(value)}" for option, value in before.items())
        warn(f"{sentence} The accuracy is not that on unseen images (that run has {options}).")


def check_teacher_not_trained_on(recipe: recipes.Training, test: data.Split, warn: Callable[[str], None]) -> None:
    """Warn for each run of ``teacher`` that was trained on test images."""
    for sentence, _ in find_overlaps(recipe.teacher or "", recipe, test):
        warn(f"{sentence} It teaches this run, whose accuracy is not that on unseen images.")


def trace_teachers(init: str, runs: Path) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Yield name, folder of runs and recipe of each run that weights come from, through ``init`` and ``teacher``."""
    pending, traced = [(init, runs)], set()
    while pending:
        start, folder = pending.pop()
        for name, saved in trace_init(start, folder):
            if name in traced:
                break
            traced.add(name)
            yield name, folder, saved
            folder = find_run_folder(name, folder).parent
            pending.append((saved.get("teacher") or "", folder))


def find_overlaps(init: str, recipe: Any, test: data.Split) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a sentence for each run of ``init`` that trained on test images, and its options that differ."""
    source = recipe.data
    options = list_split_options(source)
    for name, runs, saved in trace_teachers(init, recipe.runs) if options else ():
        before = saved["data"]
        changed = {key: before[key] for key in options if key in before and before[key] != getattr(source, key)}
        if changed and is_same_set(before, load_about(find_run_folder(name, runs)).get(CONTENT), source):
            keys = {*open_source(replace(source, **changed), "train").keys}
            if number := sum(key in keys for key in test.keys):
                yield f"{number:,} of the {len(test):,} test images were training images of {name}.", changed


def list_split_options(source: recipes.Data) -> tuple[str, ...]:
    """Return the options of a data set by which vitrun draws its test images; none if its parts are published."""
    if isinstance(source, recipes.Digits):
        return DIGITS_OPTIONS
    is_published = isinstance(source, recipes.Files) and source.path is None
    draws = all(hasattr(source, option) for option in SHARE_OPTIONS) and not is_published
    return (*SHARE_OPTIONS, *PART_OPTIONS) if draws else ()


def is_same_set(before: Mapping[str, Any], identified: Any, source: recipes.Data) -> bool:
    """Return whether the data set of a run is ``source``: by its place, or by what was ``identified`` there."""
    if before.get("source") != source.source:
        return False
    path = getattr(source, "path", None)
    if path is None or not before.get("path"):
        return all(before.get(option) == getattr(source, option, None) for option in PLACE_OPTIONS)
    if os.path.realpath(before["path"]) == os.path.realpath(path):
        return True
    now = content.identify_content({"data": trees.to_plain_tree(source)})
    return isinstance(identified, dict) and identified.get("data.path") == now["data.path"]
