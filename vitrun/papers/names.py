"""Names in papers of models, data sets and public weights."""

import re
from functools import cache
from typing import Any

from vitrun.papers.vtab_tasks import GROUPS, TASKS
from vitrun.recipes import tables

# The options that a model's name in papers fixes
SHAPE_OPTIONS = (
    *("patch", "width", "depth", "heads", "mlp", "stem", "resnet", "blocks", "width_factor"),
    *("block", "attention", "stages", "kappa", "upsilon", "window"),  # of ResNets with batch norm
    *("tokens", "mid", "encoder", "decoder"),  # of detectors
)
CONV_STEM = {"stem": "conv"}  # what the second column of SASA's table changes (arXiv 1906.05909, table 1)
VTAB_TASKS = {f"vtab/{name}": f"VTAB {task.paper}" for name, task in TASKS.items()}
VTAB_GROUPS = {f"VTAB {group}": [f"VTAB {TASKS[name].paper}" for name in tasks] for group, tasks in GROUPS.items()}
VTAB_MEAN = "VTAB (19)"
COCO, COCO_TEST = "COCO val2017", (5_000, 36_335)  # images, and objects without crowds
CLIP_DATA = "WIT-400M"  # pairs of images and texts, not published (arXiv 2103.00020, section 2.2)
TIMM_TAG = r"\.(orig|augreg2?|goog|ms|fb)_"  # in timm's names
TRAINING_DATA = (  # pattern of a tag, file or repository -> the data sets that the weights were trained on, in order
    (rf"{TIMM_TAG}in2[12]k_ft_in1k|-i21k-.*--imagenet2012|hf:google/vit-[^@]*(224|384)(@|$)", "ImageNet-21k, ImageNet"),
    (rf"{TIMM_TAG}in2[12]k(@|$)|-i21k-|hf:google/vit-.*-in21k|/imagenet21k/|BiT-M-", "ImageNet-21k"),
    (rf"{TIMM_TAG}in1k|-i1k-|BiT-S-|torchvision:vit_\w+\.IMAGENET1K_V1", "ImageNet"),
    (r"torchvision:vit_\w+\.IMAGENET1K_SWAG", "IG-3.6B, ImageNet"),  # arXiv 2201.08371
    (r"hf:(openai/clip-vit-|timm/\w+_clip(_\d+)?\.openai(@|$))", CLIP_DATA),
)
PRETRAINING_PROTOCOLS = (  # pattern of a tag, file or repository -> the protocol of pretraining
    (r"\.orig_|hf:google/vit-|/imagenet21k/ViT-", "paper_table3"),
    (r"\.augreg2?_|-i21k-|-i1k-", "augreg"),
)


@cache
def list_name_prefixes() -> dict[str, str]:
    """Return how names of a model's weights begin, each with the model's row.

    These are the row's name, timm's name of the architecture, and the beginning of Google's files: the model's name
    in the paper without signs, as in ``R50_L_32``.
    """
    prefixes = {}
    for row, model in tables.load_model_rows().items():
        info = tables.load_model_info(row)
        tags = [source.partition(":")[2] for source in info.weights]
        if info.paper and model.kind == "timm":
            tags.append(model.name)
        elif info.paper:
            prefixes[re.sub("[+/]", "_", info.paper)] = row
        if info.paper or tags:
            prefixes[row] = row
        prefixes |= {re.sub(r"(_\d{3})?(\..*)?$", "", tag): row for tag in tags}
    return prefixes


@cache
def list_published_names() -> dict[str, str]:
    """Return the names of all published weights, each with its model's row."""
    weights = {row: tables.load_model_info(row).weights for row in tables.load_model_rows()}
    return {unify_name(source): row for row, sources in weights.items() for source in sources}


def unify_name(name: str) -> str:
    """Return the last part of a tag, a path or a repository's name, spelt as timm's tags and Google's files."""
    name = name.partition(":")[2] or name
    name = name.rpartition("/")[2].replace("vit-", "vit_").replace("-patch", "_patch")
    return re.sub(r"^BiT-[MS]-|ViT-", "", name).replace("+", "_")  # Google's files: BiT-M-R50x1, R50+ViT-B_16


@cache
def match_model_row(name: str) -> str | None:
    """Return the row of the model table that a tag, a file's stem or a repository's name means; None if none."""
    name = unify_name(name)
    if (row := list_published_names().get(name.partition("@")[0])) is not None:
        return row
    matches = [
        (len(prefix), row)
        for prefix, row in list_name_prefixes().items()
        if re.match(rf"{re.escape(prefix)}([-_]\d+)?([-.@]|$)", name)
    ]
    return max(matches)[1] if matches else None


def paper_model_name(name: str, options: dict[str, Any] | None = None) -> str:
    """Return a model's name in papers; its own name if it has none or its ``options`` make it another model."""
    row = match_model_row(name)
    paper = tables.load_model_info(row).paper if row else None
    if row is None or paper is None:
        return name
    published = tables.read_row("model", row)
    changed = list_changed_shape(options, published) if options else {}
    if published["kind"] == "resnet" and changed == CONV_STEM:
        return f"{paper}, conv stem"
    return name if changed else paper


def list_changed_shape(
    options: dict[str, Any], published: dict[str, Any], fixed: tuple[str, ...] = SHAPE_OPTIONS
) -> dict[str, Any]:
    """Return the ``fixed`` options of a published model, or of its body, that another has changed."""
    changed = {key: options.get(key) for key in fixed if key in published and options.get(key) != published[key]}
    body, expected = options.get("body"), published.get("body")
    if not isinstance(body, dict) or not expected:
        return changed
    is_of_timm = expected.get("kind") == "timm"
    return changed | list_changed_shape(body, expected, ("name", "options") if is_of_timm else fixed)


def paper_data_name(options: dict[str, Any]) -> str:
    """Return a data set's name in papers; its own name if it has none."""
    return VTAB_TASKS.get(options["name"]) or options.get("paper") or options["name"]


def find_test_set(options: dict[str, Any], images: object, objects: object) -> str | None:
    """Return the name of a published test set by the numbers of its images and objects; None if it is none.

    Annotations of one's own are read as those of COCO, and their folder may have any name.
    """
    return COCO if options["source"] == "coco" and (images, objects) == COCO_TEST else None


def training_data_of(init: str) -> str | None:
    """Return the data sets that public weights were trained on, in order; None if their name does not show them."""
    return next((data for pattern, data in TRAINING_DATA if re.search(pattern, init)), None)


def pretraining_protocol_of(init: str) -> str | None:
    """Return the protocol by which public weights were pretrained; None if their name does not show it."""
    return next((protocol for pattern, protocol in PRETRAINING_PROTOCOLS if re.search(pattern, init)), None)
