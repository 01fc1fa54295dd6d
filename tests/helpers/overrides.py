"""Overrides that tests share: small runs, and the required overrides of each command."""

from pathlib import Path

from vitrun.config import provenance, resolve
from vitrun.recipes import RECIPES, tables

TINY = ["model=vit_nano8", "data.train_images=96", "data.test_images=50", "batch=32", "steps=6", "warmup=2"]
SCRATCH = "init=random:vit_nano8"


def pretrain_overrides(data: str, model: str, *overrides: str) -> list[str]:
    """Return the overrides of a pretraining run, with those that its data requires."""
    more = {"jft300m": ["data.path=/", "data.classes=18291"], "imagenet21k": ["data.path=/"]}.get(data, [])
    return [f"data={data}", f"model={model}", *more, *overrides]


def list_deviations(command: str, overrides: list[str]) -> list[str]:
    """Return the lines with which a run reports how its recipe deviates from the published one."""
    return provenance.describe_deviations(command, overrides, resolve.resolve_recipe(command, overrides))


def finetune_overrides(data: str, *overrides: str) -> list[str]:
    """Return the overrides of a fine-tuning run from random weights."""
    return [SCRATCH, f"data={data}", *["data.root=/"] * data.startswith("vtab"), *overrides]


REQUIRED_OVERRIDES = {
    command: [SCRATCH]
    if command in ("finetune", "fewshot", "eval", "predict", "export", "visualize", "generate")
    else []
    for command in RECIPES
}
DATA_ROWS = tables.read_rows("data")
WITHOUT_HUB = [
    name
    for name, row in DATA_ROWS.items()
    if row["source"] in ("vtab", "shards", "pairs", "coco", "table")
    or row["source"] in ("files", "captions")
    and row["hub"] is None
]
SUITES = [name for name, row in DATA_ROWS.items() if row["source"] == "suite"]


def add_required_overrides(command: str, overrides: list[str], folder: Path) -> list[str]:
    """Return ``overrides`` and those that the command requires."""
    joined = " ".join(overrides)
    places = []
    for group in ("data", "against"):
        places += [f"{group}.path={folder}"] * any(f"{group}={name}" in overrides for name in WITHOUT_HUB)
        places += [f"{group}.classes=3"] * bool({f"{group}=shards", f"{group}=jft300m"} & set(overrides))
        places += [f"{group}.root={folder}"] * any(f"{group}={name}" in overrides for name in SUITES)
    data = ["data=digits"] * (command in ("fewshot", "eval") and "data=" not in joined)
    return [*REQUIRED_OVERRIDES[command], *data, *places, *overrides]
