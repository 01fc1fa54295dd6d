"""Words that choose recipes, and what the first screen says of them."""

from vitrun import start
from vitrun.marks import marks

SCRATCH = "init=random:vit_nano8"


def pretraining(data: str, model: str, *words: str) -> list[str]:
    more = {"shards": ["data.path=/", "data.classes=18291"], "imagenet21k": ["data.path=/"]}.get(data, [])
    return [f"data={data}", f"model={model}", *more, *words]


def first_screen(verb: str, words: list[str]) -> list[str]:
    """What the first screen of a run says of its recipe."""
    return marks(verb, words, start.load(verb, words))


def finetuning(data: str, *words: str) -> list[str]:
    return [SCRATCH, f"data={data}", *["data.root=/"] * data.startswith("vtab"), *words]
