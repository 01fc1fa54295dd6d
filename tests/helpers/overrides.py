"""Overrides that tests share: small runs, and what a command cannot do without."""

from pathlib import Path

from vitrun import choices, start
from vitrun.marks import marks
from vitrun.recipe import RECIPES

TINY = ["model=vit_nano8", "data.train_images=96", "data.test_images=50", "batch=32", "steps=6", "warmup=2"]
SCRATCH = "init=random:vit_nano8"


def pretraining(data: str, model: str, *words: str) -> list[str]:
    more = {"shards": ["data.path=/", "data.classes=18291"], "imagenet21k": ["data.path=/"]}.get(data, [])
    return [f"data={data}", f"model={model}", *more, *words]


def first_screen(verb: str, words: list[str]) -> list[str]:
    """What the first screen of a run says of its recipe."""
    return marks(verb, words, start.load(verb, words))


def finetuning(data: str, *words: str) -> list[str]:
    return [SCRATCH, f"data={data}", *["data.root=/"] * data.startswith("vtab"), *words]


OWN = {verb: [SCRATCH] if verb in ("finetune", "fewshot", "eval", "export") else [] for verb in RECIPES}
DATA_ROWS = {name: choices.read_row("data", name) for name in choices.group_files("data")}
WITHOUT_HUB = [
    name
    for name, row in DATA_ROWS.items()
    if row["source"] in ("vtab", "shards") or row["source"] == "files" and row["hub"] is None
]
SUITES = [name for name, row in DATA_ROWS.items() if row["source"] == "suite"]


def needed(verb: str, words: list[str], folder: Path) -> list[str]:
    """``words``, and those without which the verb cannot be."""
    given = " ".join(words)
    places = []
    for group in ("data", "against"):
        places += [f"{group}.path={folder}"] * any(f"{group}={name}" in words for name in WITHOUT_HUB)
        places += [f"{group}.classes=3"] * (f"{group}=shards" in words)
        places += [f"{group}.root={folder}"] * any(f"{group}={name}" in words for name in SUITES)
    data = ["data=digits"] * (verb in ("fewshot", "eval") and "data=" not in given)
    return [*OWN[verb], *data, *places, *words]
