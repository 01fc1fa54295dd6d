"""Refuse overrides that have no effect beside the others."""

from collections.abc import Sequence
from typing import Any

from vitrun.config import compose, recipe_file
from vitrun.errors import UserError
from vitrun.recipes import tables, trees
from vitrun.runs import lookup

AREA_CROPS = ("inception", "random_resized")  # the crops that data.area is for
# Commands, beginnings of overrides, the condition under which nothing reads them, and what to change.
UNUSED_RULES = (
    (
        "pretrain finetune",
        ("data.area=",),
        lambda r: r.data.crop not in (*AREA_CROPS, None),
        f"is for the crops {' and '.join(AREA_CROPS)}: take it out, or the other crop",
    ),
    (
        "fewshot eval visualize generate",
        ("data.crop=", "data.area=", "data.flip="),
        lambda r: True,
        "is for training images; what a tested one looks like is view.resize and view.crop: take it out",
    ),
    (
        "pretrain finetune fewshot eval visualize generate",
        ("data.revision=",),
        lambda r: getattr(r.data, "path", None) is not None,
        "is for the Hub, and data.path for images here: take one of them out",
    ),
    ("pretrain", ("loss=",), lambda r: not r.objective.uses_labels, "is for labels: take it out, or the objective"),
    ("pretrain", ("fewshot.",), lambda r: r.fewshot.every is None, "probes nothing by itself: add fewshot.every=25%"),
    (
        "pretrain finetune",
        ("augment.magnitude=",),
        lambda r: not r.augment.layers,
        "is RandAugment's: add augment.layers=2",
    ),
    (
        "pretrain finetune",
        ("augment.switch_prob=",),
        lambda r: not (r.augment.mixup and r.augment.cutmix),
        "chooses between mixup and CutMix: add augment.mixup=0.2 and augment.cutmix=1",
    ),
    (
        "pretrain finetune",
        ("timescale=",),
        lambda r: r.schedule != "rsqrt",
        "is for the decay with the root of the steps: add schedule=rsqrt",
    ),
    (
        "pretrain finetune",
        ("drop_factor=",),
        lambda r: r.schedule != "staircase",
        "is for schedule=staircase: add that",
    ),
    ("finetune", ("loss=",), lambda r: r.detects, "is for labels, and the data set has boxes: take it out"),
    (
        "finetune",
        ("detect.",),
        lambda r: not r.detects,
        "is for images with boxes: take it out, or choose data=boxes or data=coco",
    ),
    (
        "finetune",
        ("optim.lr=",),
        lambda r: r.grid,
        "is chosen from the grid: put it there, as in grid=[0.01], or give grid=[]",
    ),
    ("pretrain finetune", ("pseudo.",), lambda r: r.teacher is None, "is for the labels of a teacher: add teacher="),
    ("fewshot", ("linear.",), lambda r: r.probe == "ridge", "is for probe=linear: add that"),
    ("fewshot", ("linear.pooling=",), lambda r: r.layers == ("last",), "is for layers in between: add layers=all"),
    ("fewshot", ("shots=", "seeds=", "l2="), lambda r: r.probe == "linear", "is for probe=ridge: keep one of the two"),
    (
        "dedup",
        ("similarity=", "res=", "batch=", "view.", "init_weights="),
        lambda r: r.init is None,
        "is for features: add init=",
    ),
    (
        "visualize",
        ("count=", "shown=", "layers=", "heads=", "batch=", "view.", "data."),
        lambda r: r.data is None and not r.images,
        "is for images: add images=FOLDER or data=NAME",
    ),
    (
        "visualize generate",
        ("data.",),
        lambda r: r.images,
        "is for a data set, and images= for images of your own: keep one of the two",
    ),
    (
        "generate",
        ("data=", "data.", "view.", "images="),
        lambda r: r.given == "none",
        "is for images to complete: take it out, or given=none",
    ),
    ("data", ("res=", "augment."), lambda r: not r.show, "is for the images on a page: add show=16"),
    ("data", ("augment=",), lambda r: not r.show and r.augment.layers, "is for the images on a page: add show=16"),
    (
        "data",
        ("save=", "force="),
        lambda r: not r.show and r.name != "vtab",
        "is for the page of images, or the keys of vtab: add show=16",
    ),
    (
        "finetune fewshot eval predict dedup export visualize generate",
        ("init_weights=",),
        lambda r: (r.init or "").startswith("random:"),
        "is for files with several weights, and untrained ones are drawn: take it out",
    ),
)


def check_unused(command: str, jobs: Sequence[tuple[list[str], Any]]) -> None:
    """Raise a UserError about an override that has no effect in any job (overrides and recipe) that has it.

    An override that sets the value that the files set is not an error.
    """
    for override in dict.fromkeys(override for overrides, _ in jobs for override in overrides):
        reasons = [
            explain_unused(command, override, overrides, recipe) for overrides, recipe in jobs if override in overrides
        ]
        if all(reasons):
            raise UserError(f"{override} {reasons[0]}.", option=override.partition("=")[0])


def explain_unused(command: str, override: str, overrides: list[str], recipe: Any) -> str | None:
    """Return why an override has no effect in a recipe; None if it has one, or sets the value that the files set."""
    key = override.partition("=")[0]
    for commands, beginnings, is_unused, reason in UNUSED_RULES:
        if command in commands.split() and override.startswith(beginnings) and is_unused(recipe):
            groups = (*tables.list_groups(command), recipe_file.KEY)
            # the name is not a choice, but vitrun data needs it beside one
            choosing = [one for one in overrides if one.partition("=")[0] in (*groups, "name")]
            pairs = compose.parse_overrides(command, choosing)
            choices = {key: value for key, value in pairs.items() if key in groups}
            files = compose.compose_tree(command, choices, lookup.model_row_of(recipe))
            known = key in trees.iterate_keys(files)  # eval may have its data from the weights alone
            if not known or trees.get_value(trees.to_plain_tree(recipe), key) != trees.get_value(files, key):
                return reason
    return None
