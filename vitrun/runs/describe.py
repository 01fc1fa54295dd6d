"""What a finished run is of, in the overrides of the papers: model, data, what its weights were pretrained on, and how."""

import re
from pathlib import Path

from vitrun.papers import names
from vitrun.recipes import DEFAULT_RES
from vitrun.runs.lookup import load_saved_recipe, model_name_of, pretraining_recipe

FACT_NAMES = (  # what is known of a run beside its own options
    "command", "model", "data", "upstream", "res", "protocol", "objective", "positions", "positions_at",
    "head", "pre_logits", "init", "steps", "dropout", "pretrain_protocol", "pretrain_epochs", "pretrain_batch",
    "pretrain_mixup", "pretrain_optimizer",
)  # fmt: skip
PAPER_OPTIMIZERS = {"adamw": "adam"}  # the paper's Adam decouples the weight decay (arXiv 2106.10270, section 3.3)


def describe_run(command: str, options: dict, runs: Path) -> dict[str, str | None]:
    """What a run is of, each of ``FACT_NAMES`` in the overrides of the papers; None where it is not known."""
    init, root = options.get("init"), find_pretraining_options(options, runs)
    network = root["model"] if root else {}
    optimizer = root["optim"]["kind"] if root else None
    tuned = (load_saved_recipe(init, runs) or {}) if command in ("eval", "fewshot") else options
    written = {
        "command": command,
        "model": names.paper_model_name(network["name"], network)
        if root
        else names.paper_model_name(model_name_of(init, runs)),
        "data": names.paper_data_name(options["data"]),
        "upstream": describe_upstream(command, init, runs),
        "res": find_resolution(options, runs),
        "protocol": tuned.get("protocol"),
        "objective": root["objective"]["kind"] if root and "objective" in root else "labels",
        "positions": network.get("positions"),
        "positions_at": network.get("positions_at"),
        "head": network.get("head"),
        "pre_logits": str(network["pre_logits"]).lower() if "pre_logits" in network else None,
        "init": init,
        "steps": str(options["steps"]) if options.get("steps") else None,
        "dropout": str(network.get("dropout", 0.0) if tuned.get("dropout") is None else tuned["dropout"]),
        "pretrain_protocol": root.get("protocol") if root else names.pretraining_protocol_of(init),
        "pretrain_epochs": f"{root['epochs']:g}" if root and root["epochs"] else None,
        "pretrain_batch": str(root["batch"]) if root else None,
        "pretrain_mixup": f"{root['augment']['mixup']:g}" if root else None,
        "pretrain_optimizer": PAPER_OPTIMIZERS.get(optimizer, optimizer),
    }
    return {name: written[name] for name in FACT_NAMES}


def find_pretraining_options(options: dict, runs: Path) -> dict | None:
    """The recipe of the pretraining run at the beginning; None where the weights are not from a run here."""
    return options if options["command"] == "pretrain" else pretraining_recipe(options["init"], runs)[0]


def describe_upstream(command: str, init: str | None, runs: Path) -> str:
    """What weights were pretrained on: data sets, a file, a tag, or nothing (scratch).

    What ``eval`` counts was fine-tuned on the last of its data sets, which is not called pretraining.
    """
    stages = list_upstream_data(init, runs)
    if command == "eval" and (names.training_data_of(init) or load_saved_recipe(init, runs)):
        stages = stages[:-1]
    return ", ".join(stages) or "scratch"


def list_upstream_data(init: str | None, runs: Path) -> list[str]:
    """The data sets behind weights, in order; their file or tag where its name does not say."""
    if init is None or init.startswith("random:"):
        return []
    source = load_saved_recipe(init, runs)
    if source is None:
        known = names.training_data_of(init)
        return known.split(", ") if known else [Path(init.partition("#")[0]).name]
    return [*list_upstream_data(source.get("init"), runs), names.paper_data_name(source["data"])]


def find_resolution(options: dict, runs: Path) -> str | None:
    """The side of the images, given or that of the weights; None where neither their run nor their name says it."""
    if options["res"]:
        return str(options["res"])
    if (options.get("init") or "random:").startswith("random:"):
        return str(DEFAULT_RES)
    source = load_saved_recipe(options["init"], runs)
    if source is not None:
        return find_resolution(source, runs)
    found = re.search(r"[-_](\d{3})(?=[-.@#]|$)", options["init"])
    return found and found[1]
