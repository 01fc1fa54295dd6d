"""What a finished run is of, in the words of the papers: model, data, what its weights were pretrained on, and how."""

import re
from pathlib import Path

from vitrun.papers import names
from vitrun.recipes import NATIVE
from vitrun.runs.lookup import beginning, model_of, recipe_of

FACTS = (  # what is known of a run beside its own options
    "verb", "model", "data", "upstream", "res", "protocol", "objective", "positions", "positions_at",
    "head", "pre_logits", "init", "steps", "dropout", "pretrain_protocol", "pretrain_epochs", "pretrain_batch",
    "pretrain_mixup", "pretrain_optimizer",
)  # fmt: skip
OPTIMIZERS = {"adamw": "adam"}  # the paper's Adam decouples the weight decay (arXiv 2106.10270, section 3.3)


def facts(verb: str, options: dict, runs: Path) -> dict[str, str | None]:
    """What a run is of, each of ``FACTS`` in the words of the papers; None where it is not known."""
    init, root = options.get("init"), origin(options, runs)
    network = root["model"] if root else {}
    optimizer = root["optim"]["kind"] if root else None
    tuned = (recipe_of(init, runs) or {}) if verb in ("eval", "fewshot") else options
    written = {
        "verb": verb,
        "model": names.model(network["name"], network) if root else names.model(model_of(init)),
        "data": names.data(options["data"]),
        "upstream": upstream(verb, init, runs),
        "res": resolution(options, runs),
        "protocol": tuned.get("protocol"),
        "objective": root["objective"]["kind"] if root and "objective" in root else "labels",
        "positions": network.get("positions"),
        "positions_at": network.get("positions_at"),
        "head": network.get("head"),
        "pre_logits": str(network["pre_logits"]).lower() if "pre_logits" in network else None,
        "init": init,
        "steps": str(options["steps"]) if options.get("steps") else None,
        "dropout": str(network.get("dropout", 0.0) if tuned.get("dropout") is None else tuned["dropout"]),
        "pretrain_protocol": root.get("protocol") if root else names.protocol_of(init),
        "pretrain_epochs": f"{root['epochs']:g}" if root and root["epochs"] else None,
        "pretrain_batch": str(root["batch"]) if root else None,
        "pretrain_mixup": f"{root['augment']['mixup']:g}" if root else None,
        "pretrain_optimizer": OPTIMIZERS.get(optimizer, optimizer),
    }
    return {name: written[name] for name in FACTS}


def origin(options: dict, runs: Path) -> dict | None:
    """The recipe of the pretraining run at the beginning; None where the weights are not from a run here."""
    return options if "model" in options else beginning(options["init"], runs)[0]


def upstream(verb: str, init: str | None, runs: Path) -> str:
    """What weights were pretrained on: data sets, a file, a tag, or nothing (scratch).

    What ``eval`` counts was fine-tuned on the last of its data sets, which is not called pretraining.
    """
    stages = trained_on(init, runs)
    if verb == "eval" and (names.trained_on(init) or recipe_of(init, runs)):
        stages = stages[:-1]
    return ", ".join(stages) or "scratch"


def trained_on(init: str | None, runs: Path) -> list[str]:
    """The data sets behind weights, in order; their file or tag where its name does not say."""
    if init is None or init.startswith("random:"):
        return []
    source = recipe_of(init, runs)
    if source is None:
        known = names.trained_on(init)
        return known.split(", ") if known else [Path(init.partition("#")[0]).name]
    return [*trained_on(source.get("init"), runs), names.data(source["data"])]


def resolution(options: dict, runs: Path) -> str | None:
    """The side of the images, given or that of the weights; None where neither their run nor their name says it."""
    if options["res"]:
        return str(options["res"])
    if (options.get("init") or "random:").startswith("random:"):
        return str(NATIVE)
    source = recipe_of(options["init"], runs)
    if source is not None:
        return resolution(source, runs)
    found = re.search(r"[-_](\d{3})(?=[-.@#]|$)", options["init"])
    return found and found[1]
