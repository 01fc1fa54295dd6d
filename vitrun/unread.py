"""Words that nothing would read beside the others: who types one expects something of it."""

from collections.abc import Sequence
from typing import Any

from vitrun import choices, config
from vitrun.mistakes import Mistake

# Of a verb: beginnings of options, when nothing reads them, and what is missing for that.
UNREAD = (
    ("pretrain", ("loss",), lambda r: r.objective.kind != "labels", "is for labels: take it out, or the objective"),
    ("pretrain", ("fewshot.",), lambda r: r.fewshot.every is None, "probes nothing by itself: add fewshot.every=25%"),
    ("fewshot", ("linear.",), lambda r: r.probe == "ridge", "is for probe=linear: add that"),
    ("fewshot", ("linear.pooling",), lambda r: r.layers == ("last",), "is for layers in between: add layers=all"),
    ("fewshot", ("shots", "seeds", "l2"), lambda r: r.probe == "linear", "is for probe=ridge: take one of the two out"),
    ("dedup", ("similarity",), lambda r: r.init is None, "compares features: add init=, whose features"),
    *(
        (verb, ("augment.magnitude",), lambda r: not r.augment.layers, "is of RandAugment: add augment.layers=2 too")
        for verb in ("pretrain", "finetune")
    ),
)


def check(verb: str, words: Sequence[str], recipe: Any) -> None:
    """A Mistake where a word changes what nothing reads; one that says what the files say is no matter."""
    tree = choices.plain(recipe)
    for own, options, unread, way in UNREAD:
        given = [word for word in words if word.startswith(options)] if own == verb else []
        if given and unread(recipe):
            before = config.compose(verb, [word for word in words if word not in given])
            for word in given:
                key = word.partition("=")[0]
                if choices.reach(tree, key) != choices.reach(before, key):
                    raise Mistake(f"{word} {way}.")
