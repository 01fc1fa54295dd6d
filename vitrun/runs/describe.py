"""Description of a run in the terms of papers: model, data, and how and on what its weights were pretrained."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from vitrun.errors import UserError
from vitrun.papers import names
from vitrun.recipes import DEFAULT_RES, Model, Timm, ViT, tables
from vitrun.recipes.detector_rows import make_detector_row
from vitrun.runs.lookup import (
    find_first_tuning_on_boxes,
    load_saved_recipe,
    model_name_of,
    pretraining_recipe,
    trace_init,
)
from vitrun.runs.weights_view import describe_view

FACT_NAMES = (  # what is known of a run besides its options
    "command", "model", "data", "upstream", "res", "protocol", "objective", "positions", "positions_at",
    "head", "pre_logits", "init", "steps", "dropout", "pretrain_protocol", "pretrain_epochs", "pretrain_batch",
    "pretrain_mixup", "pretrain_optimizer", "view", "view_of", "teacher", "test_images",
)  # fmt: skip
PAPER_OPTIMIZERS = {"adamw": "adam"}  # the paper's Adam decouples the weight decay (arXiv 2106.10270, section 3.3)
SAME_MODEL = "same model"  # as the student
Options = dict[str, Any]  # of a saved recipe


def describe_run(command: str, options: Options, runs: Path) -> dict[str, str | None]:
    """Return each of ``FACT_NAMES`` for a run, in the terms of papers; None for what is not known."""
    init = options.get("init")
    pretraining = find_pretraining_options(options, runs)
    tuning = options if command not in ("eval", "fewshot") or init is None else load_saved_recipe(init, runs) or {}
    model = pretraining["model"] if pretraining else {}
    trained = [options, *(recipe for _, recipe in trace_init(init, runs))]
    name = name_model(trained[-1].get("init") or "", model, trained, runs)
    facts = {
        "command": command,
        "model": name,
        "data": names.paper_data_name(options["data"]),
        "upstream": describe_upstream(command, init, runs),
        "res": find_resolution(options, runs),
        "protocol": tuning.get("protocol"),
        "objective": pretraining["objective"]["kind"] if pretraining and "objective" in pretraining else "labels",
        "positions": model.get("positions"),
        "positions_at": model.get("positions_at"),
        "head": model.get("head"),
        "pre_logits": str(model["pre_logits"]).lower() if "pre_logits" in model else None,
        "init": init,
        "steps": str(options["steps"]) if options.get("steps") else None,
        "dropout": str(model.get("dropout", 0.0) if tuning.get("dropout") is None else tuning["dropout"]),
        "view": describe_view(options["view"]) if "view" in options else None,
        "teacher": describe_teacher(tuning, name, runs),
        "view_of": None,  # of eval: "weights", "overrides" or "assumed", which the result says
        "test_images": None,  # how many, which the result says
        **describe_pretraining(pretraining, init),
    }
    return {name: facts[name] for name in FACT_NAMES}


def describe_teacher(tuning: Options, model: str, runs: Path) -> str | None:
    """Return the model that labelled images for a training run, as papers name it: ``same model`` if it is the run's.

    Return ``none`` if no teacher did, and None if the recipe of the run is not known.
    """
    if not tuning.get("command"):
        return None
    if not (teacher := tuning.get("teacher")):
        return "none"
    name = names.paper_model_name(model_name_of(teacher, runs))
    return SAME_MODEL if name == model else name


def name_model(init: str, model: Options, tuned: Sequence[Options], runs: Path) -> str:
    """Return a model's name in papers, or its own: that of a detector if it was fine-tuned on boxes.

    Args:
        init: The weights that are not of a training run here; empty if there are none.
        model: The row of a pretraining run here; empty without one.
        tuned: Recipes of the runs that trained it, the last one first.
        runs: The folder of all run folders.
    """
    name = str(model.get("name") or model_name_of(init, runs))
    if (tuning := find_first_tuning_on_boxes(tuned)) is not None:
        with suppress(UserError):  # of a network that cannot be the body of a detector
            if (body := find_body(init, name, model)) is not None:
                detector = make_detector_row(body, tuning["detect"]["model"], DEFAULT_RES)
                return names.paper_model_name(detector.name)
    return names.paper_model_name(name, model)


def find_body(init: str, name: str, model: Options) -> Model | None:
    """Return the row of pretrained weights by the recipe of their run or by their name; None if it is not known."""
    if model:
        return cast(Model, tables.validate_row(Model, model, f"the model of {name}"))
    row = names.match_model_row(name)
    known = tables.load_model_row(row) if row else None
    if init.startswith("timm:") and not isinstance(known, ViT):
        return replace(cast(Timm, tables.load_model_row("timm")), name=name.partition(".")[0])
    return known


def describe_pretraining(options: Options | None, init: str | None) -> dict[str, str | None]:
    """Return how weights were pretrained: by the options of a run here, or by the name of public weights."""
    if options is None:
        numbers = ("pretrain_epochs", "pretrain_batch", "pretrain_mixup", "pretrain_optimizer")
        return {"pretrain_protocol": names.pretraining_protocol_of(init or ""), **dict.fromkeys(numbers)}
    optimizer = options["optim"]["kind"]
    return {
        "pretrain_protocol": options.get("protocol"),
        "pretrain_epochs": f"{options['epochs']:g}" if options["epochs"] else None,
        "pretrain_batch": str(options["batch"]),
        "pretrain_mixup": f"{options['augment']['mixup']:g}",
        "pretrain_optimizer": PAPER_OPTIMIZERS.get(optimizer, optimizer),
    }


def find_pretraining_options(options: Options, runs: Path) -> Options | None:
    """Return the recipe of the first pretraining run of the weights; None if they do not come from a run here."""
    return options if options["command"] == "pretrain" else pretraining_recipe(options["init"], runs)[0]


def describe_upstream(command: str, init: str | None, runs: Path) -> str:
    """Return what weights were pretrained on: data sets, a file, a tag, or ``scratch``.

    For ``eval`` the last data set is not part of it, as that is what the weights were fine-tuned on, unless they are a
    CLIP, which needs no fine-tuning.
    """
    stages = list_upstream_data(init, runs)
    if command == "eval" and init and is_zero_shot(init, runs):
        return ", ".join(stages)
    if command == "eval" and init and (names.training_data_of(init) or load_saved_recipe(init, runs)):
        stages = stages[:-1]
    return ", ".join(stages) or "scratch"


def is_zero_shot(init: str, runs: Path) -> bool:
    """Return whether weights are a CLIP, of a run here or published, which classifies without fine-tuning."""
    recipe = load_saved_recipe(init, runs)
    if recipe is None:
        return names.training_data_of(init) == names.CLIP_DATA
    return (recipe.get("objective") or {}).get("kind") == "contrastive"


def list_upstream_data(init: str | None, runs: Path) -> list[str]:
    """Return the data sets that weights were trained on, in order; their file or tag if its name does not show them."""
    stages = []
    for _, recipe in trace_init(init, runs):
        stages.append(names.paper_data_name(recipe["data"]))
        init = recipe.get("init")
    if init and not init.startswith("random:"):
        known = names.training_data_of(init)
        stages += reversed(known.split(", ")) if known else [Path(init.rpartition("#")[0] or init).name]
    return stages[::-1]


def find_resolution(options: Options, runs: Path) -> str | None:
    """Return the side of the images, of the run or of its weights; None if neither a recipe nor a name gives it."""
    init = None
    for recipe in (options, *(recipe for _, recipe in trace_init(options.get("init"), runs))):
        if recipe["res"]:
            return str(recipe["res"])
        init = recipe.get("init")
    if init is None or init.startswith("random:"):
        return str(DEFAULT_RES)
    match = re.search(r"[-_](\d{3})(?=[-.@#]|$)", init)
    return match[1] if match else None
