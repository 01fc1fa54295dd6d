"""The renamed, added and removed options that ``check_recipes.py compare`` allows between BEFORE and AFTER."""

import json
from typing import Any


class OneOf(tuple[Any, ...]):
    """Values that an added option has, each with some choices."""


Line = tuple[str, dict[str, Any]]  # the combination as text, and its recipe

# A key of these tables is an option such as "optim.lr", or one of a single command such as "finetune protocol"; in
# VALUES, NEW and GONE it may also be "command". Overrides and recipes are renamed alike.
OPTIONS: dict[str, str] = {"compare verbs": "commands"}  # {option of BEFORE: its name in AFTER}
DATA_SETS = {"shards": "jft300m", "imagenet-w21": "imagenet_w21"}
VALUES: dict[str, dict[Any, Any]] = {  # {option of BEFORE: {value: its name in AFTER}}
    "data": DATA_SETS,
    "data.name": DATA_SETS,
    "against": DATA_SETS,
    "against.name": DATA_SETS,
    "data name": DATA_SETS,
    "pretrain protocol": {"paper": "paper_table3"},
    "finetune protocol": {
        "paper": "paper_table4",
        "table2": "paper_table2",
        "public": "public_code",
        "single": "quick",
        "vit": "paper_vtab",
        "vpt": "vpt_vtab",
        "bit": "bit_hyperrule",
    },
}
REMOVED: dict[str, Any] = {}  # {option of BEFORE alone: the value that it has wherever it is}
ADDED: dict[str, Any] = {
    "view.interpolation": "bilinear",
    "view.fill": [128, 128, 128],
    "data.jpeg": "precise",
    "against.jpeg": "precise",
    "init_weights": "auto",
    "model.gelu": "tanh",
    "model.epsilon": 1e-6,
    "model.norm_pre": False,
    "data.image": None,
    "against.image": None,
    "optim.layer_decay": 1.0,
    "optim.epsilon": 1e-8,
    "train": "all",
    "class_weights": "none",
    "sampler": "uniform",
    "augment.cutmix": 0.0,
    "augment.switch_prob": 0.5,
    "augment.erasing": 0.0,
    **{f"{group}.test_share": 0.1 for group in ("data", "against")},
    **{f"{group}.split_seed": 0 for group in ("data", "against")},
    **{f"{group}.exif": OneOf((False, True)) for group in ("data", "against")},  # true for own images: folder, parquet
    **{"data augment.randaugment": "none", "data augment.layers": 0, "data augment.magnitude": 0},  # of `data show=`
    **{"data augment.mixup": 0.0, "data res": None, "data show": 0, "data force": False},
    "eval match": "name",
    "eval prompts": "auto",
    "predict prompts": "auto",
    "compare only": [],
    "compare top": 20,
    "export force": False,
    "compare force": False,
    "rank_timeout": 600.0,
    **{f"{command} report": False for command in ("pretrain", "finetune", "fewshot", "eval", "dedup", "visualize")},
    **{f"{command} track": [] for command in ("pretrain", "finetune", "fewshot", "eval", "dedup", "visualize")},
    "on_nan": "stop",
    "timescale": 10_000,
    "checkpointing": "none",
    "compile": "auto",
    "on": None,
    "cooldown": 0,
    "drop_every": None,
    "drop_factor": 0.1,
    "freeze": [],
    "finetune stochastic_depth": None,
    "finetune head": "new",
    "model.dropout": 0.0,
    "model.stochastic_depth": 0.0,
    "model.options.bn_momentum": 0.1,
    "optim.head_decay": None,
    "eval.every": None,
    "eval.patience": None,
    "keep": "last",
    "mode": "ddp",
    "shard_ranks": None,
    "body_lr": None,
    "detect.model": None,
    "detect.no_object": 0.1,
    "detect.l1": 5.0,
    "detect.giou": 2.0,
    "detect.auxiliary": True,
    "teacher": None,
    "unlabelled": None,
    "pseudo.labels": "soft",
    "pseudo.temperature": 1.0,
    "pseudo.threshold": 0.3,
    "pseudo.per_class": None,
    "pseudo.ratio": 3,
    "pseudo.weight": None,
    "rounds": 1,
}  # {option of AFTER alone: the value that it has wherever it is}
GONE: dict[str, list[str]] = {}  # {option of BEFORE: choices that are no more}: their combinations are left out
CLIP_SETS = [
    *("captions", "pairs", "food101", "birdsnap", "stanford_cars", "fgvc_aircraft", "mnist", "gtsrb", "country211"),
    *("rendered_sst2", "fer2013", "stl10"),
]
EFFICIENTNETS = [f"efficientnet_b{number}" for number in range(8)]
NEW: dict[str, list[str]] = {
    "command": ["visualize"],
    "protocol": ["scaling_vit", "noisy_student", "fixres"],
    "optim": ["adafactor", "rmsprop"],
    "model": ["vit_b28", "vit_xs16", "vit_xs28", *EFFICIENTNETS],
    "init": ["random:vit_b28", "random:vit_xs16", "random:vit_xs28", *(f"random:{name}" for name in EFFICIENTNETS)],
    "data": ["shards", *CLIP_SETS],
    "against": ["shards", *CLIP_SETS],
    "data name": ["shards", *CLIP_SETS],
}  # {option of AFTER: choices that were not there}: their combinations are left out


def rename_line(key: str, recipe: dict[str, Any]) -> Line:
    """Return a line of BEFORE by the names of AFTER."""
    command, *overrides = key.split()
    pairs = (override.split("=", 1) for override in overrides)
    now = sorted("=".join(rename_option(command, *pair)) for pair in pairs)
    options = dict(rename_option(command, *item) for item in drop_options(REMOVED, key, recipe).items())
    return " ".join([rename_option(command, "command", command)[1], *now]), options


def rename_option(command: str, option: str, value: Any) -> tuple[str, Any]:
    """Return an option of BEFORE and its value by their names in AFTER."""
    values = find_entry(VALUES, command, option) or {}
    new = values.get(value, value) if isinstance(value, str | int | float | None) else value
    return find_entry(OPTIONS, command, option) or option, new


def drop_options(table: dict[str, Any], key: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe without the options that ``table`` has with the same value."""
    command = key.split()[0]
    listed = {option for option in recipe if {option, f"{command} {option}"} & table.keys()}
    same = {option for option in listed if is_allowed(find_entry(table, command, option), recipe[option])}
    return {option: value for option, value in recipe.items() if option not in same}


def is_allowed(entry: Any, value: Any) -> bool:
    """Whether a value is that of an entry, or one of its values."""
    return format_json(value) in map(format_json, entry if isinstance(entry, OneOf) else [entry])


def has_choice(key: str, table: dict[str, list[str]]) -> bool:
    """Whether a combination makes one of the choices in ``table``."""
    command, *overrides = key.split()
    pairs = [["command", command], *(override.split("=", 1) for override in overrides)]
    return any(value in (find_entry(table, command, option) or ()) for option, value in pairs)


def find_entry(table: dict[str, Any], command: str, option: str) -> Any:
    """Return what a table has of an option for a command, or else for all; None where it has nothing."""
    return table.get(f"{command} {option}", table.get(option))


def format_json(value: Any) -> str:
    """Return a value as JSON, in which 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True)
