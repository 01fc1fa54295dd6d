"""Weights that a resolved ``init`` names: the run, recipe, model and file that they come from, without torch."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vitrun.errors import ExitCode, UserError
from vitrun.papers import names
from vitrun.recipes import (
    DEFAULT_RES,
    RECIPE_FILE,
    Dedup,
    Eval,
    Export,
    Fewshot,
    Finetune,
    Generate,
    Model,
    Predict,
    Recipe,
    Visualize,
    tables,
)
from vitrun.recipes.boxes import SOURCES as BOX_SOURCES
from vitrun.recipes.detector_rows import make_detector_row
from vitrun.runs import checkpoints
from vitrun.runs.manifest import FILE_HASH_KEY, load_manifest
from vitrun.runs.no_weights import explain_no_weights
from vitrun.runs.run_files import CHECKPOINTS_FOLDER, load_recipe

WEIGHTS_SUFFIXES = (
    ".npz",
    ".safetensors",
    ".pth.tar",
    ".pth",
    ".pt",
    ".bin",
    ".ckpt",
)  # of files; any other is read too
INIT_PREFIXES = ("random:", "timm:", "hf:", "torchvision:")  # of names of weights that are not a file here
PINNED_FILE = re.compile(r"(.*)#([0-9a-f]{12})")  # a resolved ``init``: a path, and the first digits of its hash
HASH_DIGITS = 12  # hex digits of a file's BLAKE3 hash in a resolved ``init``


def split_pinned_file(init: str) -> tuple[Path, str]:
    """Return the path in ``PATH#HASH``, and the hash, which is empty if there is none. A path may have a # too."""
    pinned = PINNED_FILE.fullmatch(init)
    if pinned and not Path(init).exists():
        return Path(pinned[1]), pinned[2]
    return Path(init), ""


def has_weights(run: Path) -> bool:
    """Return whether a finished run has weights to begin from: not those of a trial of a grid."""
    return (run / CHECKPOINTS_FOLDER).is_dir() and load_recipe(run).get("score") != "dev"


def find_run_folder(init: str, runs: Path) -> Path:
    """Return the folder of the run that a resolved ``init`` names, if it names one: in ``runs``, or ``PATH#HASH``."""
    pinned = PINNED_FILE.fullmatch(init)
    return Path(pinned[1]) if pinned else runs / init


def load_saved_recipe(init: str, runs: Path) -> dict[str, Any] | None:
    """Return the recipe of the run that a resolved ``init`` names; None if it names no run."""
    folder = find_run_folder(init, runs)
    with suppress(OSError, ValueError):  # a name of 300 letters, or with a character that no path has
        if (folder / RECIPE_FILE).is_file():
            return load_recipe(folder)
    return None


def model_name_of(init: str, runs: Path) -> str:
    """Return the name of the model that a resolved ``init`` names."""
    if init.startswith(INIT_PREFIXES):
        return init.partition(":")[2].partition("@")[0]
    if recipe := load_saved_recipe(init, runs):
        return str(recipe["model"]["name"])
    pinned = PINNED_FILE.fullmatch(init)
    return strip_suffix(Path(pinned[1]).name) if pinned else init


def strip_suffix(name: str) -> str:
    """Return the name of a file of weights without its suffix; that of a folder as it is."""
    return next((name[: -len(end)] for end in WEIGHTS_SUFFIXES if name.lower().endswith(end)), name)


def pretraining_recipe(init: str, runs: Path) -> tuple[dict[str, Any] | None, str]:
    """Return the recipe of the pretraining run at the beginning of a resolved ``init``, and that run's name.

    If the weights do not come from a pretraining run here: None, and the ``init`` of the first run.
    """
    for name, recipe in trace_init(init, runs):
        if recipe["command"] == "pretrain":
            return recipe, name
        init = recipe.get("init") or ""
    return None, init


def trace_init(init: str | None, runs: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and recipe of the run of a resolved ``init``, then of the run that it started from, and so on.

    Raise UserError if a run starts from itself, as no run that vitrun wrote does.
    """
    seen: list[str] = []
    while init and (recipe := load_saved_recipe(init, runs)) is not None:
        if init in seen:
            chain = " -> ".join([*seen[seen.index(init) :], init][-4:])
            raise UserError(
                f"the run {init} starts from itself ({chain}): {RECIPE_FILE} of one of them was edited. Move them out "
                f"of {runs}.",
                ExitCode.CHECKPOINT,
            )
        seen.append(init)
        yield init, recipe
        runs = find_run_folder(init, runs).parent
        init = recipe.get("init")


def model_row_name(init: str, runs: Path) -> str | None:
    """Return the name of the row in ``conf/model`` of the weights of a resolved ``init``; None if there is none."""
    source, init = pretraining_recipe(init, runs)
    if source is not None:
        return source["model"]["name"]
    name = model_name_of(init, runs)
    return name if name in tables.list_group_files("model") else names.match_model_row(name)


def find_architecture(init: str, runs: Path) -> Model | None:
    """Return the model row of a resolved ``init``: of its pretraining run, with its overrides, or of fresh weights.

    A run that was fine-tuned on boxes has a detector with that as its body. None for files and tags, whose architecture
    is known once they are opened.
    """
    source, first = pretraining_recipe(init, runs)
    if source is None and not first.startswith("random:"):
        return None
    model: Model = (
        tables.load_model_row(model_name_of(first, runs))
        if source is None
        else tables.validate_row(Model, source["model"], f"the model of {first}")
    )
    tuning = find_first_tuning_on_boxes([recipe for _, recipe in trace_init(init, runs)])
    if tuning is None:
        return model
    res = tuning["res"] or (source or {}).get("res") or DEFAULT_RES
    return make_detector_row(model, tuning["detect"]["model"], res)


def find_first_tuning_on_boxes(recipes: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the recipe of the run that made a detector of a pretrained body, of those of :func:`trace_init`.

    None if none of them fine-tuned on boxes.
    """
    tuned = [recipe for recipe in recipes if recipe["command"] == "finetune" and recipe.get("detect")]
    return next((recipe for recipe in reversed(tuned) if recipe["data"]["source"] in BOX_SOURCES), None)


def model_row_of(recipe: Recipe) -> str | None:
    """Return the name in ``conf/model`` of the weights of ``init``; None without ``init`` or such a file."""
    if isinstance(recipe, Finetune | Fewshot | Eval | Dedup | Predict | Export | Visualize | Generate) and recipe.init:
        return model_row_name(recipe.init, recipe.runs)
    return None


def find_weights_file(init: str, runs: Path, init_weights: str = "auto", option: str = "init") -> Path | str:
    """Return the file or folder of a resolved ``init``; tags as they are. Errors name ``option``.

    Of a run it is, unless ``init_weights`` names another, the one of the best evaluation if it is there, else the EMA,
    else the weights themselves.
    """
    if init.startswith(INIT_PREFIXES):
        return init
    folder = find_run_folder(init, runs)
    if PINNED_FILE.fullmatch(init) and load_saved_recipe(init, runs) is None:
        return folder
    checkpoint = checkpoints.find_newest(folder / CHECKPOINTS_FOLDER, lambda _: None, tidy=False)
    if checkpoint is None:
        raise UserError(explain_no_weights(folder), ExitCode.CHECKPOINT, option, init)
    files = checkpoints.list_weights(checkpoint)
    if init_weights == "auto":
        return next(iter(files.values()))
    if init_weights not in files:
        there = " or ".join(("auto", *files))
        why = f"the run {init} has no such weights: leave it out, or set {there}."
        raise UserError(why, ExitCode.CHECKPOINT, "init_weights", init_weights)
    return files[init_weights]


def describe_choice(file: Path) -> str:
    """Return which of several weights of a run a file has, and how to take the others; empty if it is the only one."""
    files = checkpoints.list_weights(file.parent)
    names = {path: name for name, path in files.items()}
    if "best" not in files or file not in names:
        return ""
    best, last = checkpoints.read_best_step(file.parent), checkpoints.read_step(file.parent)
    what = f"of the best evaluation, at step {best}" if names[file] == "best" else f"of the last step, {last}"
    others = " and ".join(f"init_weights={name}" for name in files if name != names[file])
    return f"the weights {what}; the others are {others}"


def weights_fingerprint(init: str, runs: Path, option: str = "init") -> str:
    """Return what identifies the weights of a resolved ``init``: the hash of a file or model row, or a tag.

    Errors name ``option``.
    """
    if init.startswith("random:"):
        row = tables.read_row("model", model_name_of(init, runs))
        return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
    if init.startswith(INIT_PREFIXES):
        return init
    if pinned := PINNED_FILE.fullmatch(init):
        return pinned[2]
    file = Path(find_weights_file(init, runs, option=option))
    return str(load_manifest(file.parent)["files"][file.name][FILE_HASH_KEY])
