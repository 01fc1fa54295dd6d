"""Words that nothing would read beside the others: who types one expects something of it."""

from collections.abc import Sequence
from typing import Any

from vitrun.config import compose
from vitrun.errors import Mistake
from vitrun.recipes import trees

SIZED = ("inception", "random_resized")  # the crops that data.area is for
# Of some verbs: how words begin, when nothing reads them, and what is missing for that.
UNREAD = (
    (
        "pretrain finetune",
        ("data.area=",),
        lambda r: r.data.crop not in (*SIZED, None),
        f"is for the crops {' and '.join(SIZED)}: take it out, or the other crop",
    ),
    (
        "fewshot eval",
        ("data.crop=", "data.area=", "data.flip="),
        lambda r: True,
        "is for training images; what a tested one looks like is view.resize and view.crop: take it out",
    ),
    (
        "pretrain finetune fewshot eval",
        ("data.revision=",),
        lambda r: getattr(r.data, "path", None) is not None,
        "is for the Hub, and data.path for images here: take one of them out",
    ),
    ("pretrain", ("loss=",), lambda r: not r.labelled, "is for labels: take it out, or the objective"),
    ("pretrain", ("fewshot.",), lambda r: r.fewshot.every is None, "probes nothing by itself: add fewshot.every=25%"),
    (
        "pretrain finetune",
        ("augment.magnitude=",),
        lambda r: not r.augment.layers,
        "is RandAugment's: add augment.layers=2",
    ),
    (
        "finetune",
        ("optim.lr=",),
        lambda r: r.grid,
        "is chosen from the grid: put it there, as in grid=[0.01], or give grid=[]",
    ),
    ("fewshot", ("linear.",), lambda r: r.probe == "ridge", "is for probe=linear: add that"),
    ("fewshot", ("linear.pooling=",), lambda r: r.layers == ("last",), "is for layers in between: add layers=all"),
    ("fewshot", ("shots=", "seeds=", "l2="), lambda r: r.probe == "linear", "is for probe=ridge: keep one of the two"),
    (
        "dedup",
        ("similarity=", "res=", "batch=", "view."),
        lambda r: r.init is None,
        "is for features: add init=",
    ),
)


def check(verb: str, jobs: Sequence[tuple[list[str], Any]]) -> None:
    """A Mistake where a word changes what nothing reads, in none of the ``jobs`` (words and recipe) that have it.

    One that says what the files say is no matter.
    """
    for word in dict.fromkeys(word for words, _ in jobs for word in words):
        reasons = [why(verb, word, words, recipe) for words, recipe in jobs if word in words]
        if all(reasons):
            raise Mistake(f"{word} {reasons[0]}.")


def why(verb: str, word: str, words: list[str], recipe: Any) -> str | None:
    """What a word lacks that nothing reads in this recipe; None for one that is read, or changes nothing."""
    for verbs, beginnings, idle, way in UNREAD:
        if verb in verbs.split() and word.startswith(beginnings) and idle(recipe):
            key = word.partition("=")[0]
            before = compose.compose(verb, [other for other in words if other != word])
            known = key in trees.leaves(before)  # eval may have its data from the weights alone
            if not known or trees.reach(trees.plain(recipe), key) != trees.reach(before, key):
                return way
    return None
