"""Folders of ``timm.models.save_for_hf``: timm's own network, by the name and options in its ``config.json``."""

from typing import Any

import torch

from vitrun.errors import UserError
from vitrun.models.formats.identify import is_square
from vitrun.models.formats.mapping import (
    IdentifiedWeights,
    TensorMapping,
    label_names,
    map_classifier,
    map_same,
    parse_normalization,
)
from vitrun.models.tensor_files import JsonObject, Weights, weights_error
from vitrun.models.timm_wrapper import pretrained_config, wrap_timm_network
from vitrun.recipes import Timm

REFUSED_OPTIONS = {  # of ``timm.create_model``: they read other files, or build something else than a classifier
    "cache_dir",
    "checkpoint_path",
    "feature_cfg",
    "features_only",
    "out_indices",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "pretrained_strict",
}
WRAPPER = "timm_wrapper"  # ``model_type`` of transformers' TimmWrapperForImageClassification
IMPLIED_OPTIONS = {"num_classes", "img_size", "in_chans", "scriptable", "exportable", "no_jit"}  # from elsewhere


def identify_timm_network(weights: Weights, config: JsonObject) -> IdentifiedWeights:
    """Return timm's own network by the name and the options in its folder.

    Raise a UserError if vitrun cannot build or feed it.
    """
    if config.get("model_type") == WRAPPER:
        weights = weights.rename({name.removeprefix("timm_model."): name for name in weights})
    options, architecture = config.get("model_args") or {}, str(config["architecture"]).partition(".")[0]
    pretrained = config.get("pretrained_cfg") or pretrained_config(architecture).to_dict()
    if refused := sorted(REFUSED_OPTIONS & options.keys()):
        raise weights_error(weights.path, f"its model_args have {', '.join(refused)}, which vitrun does not support.")
    res, notes = input_side(weights, options, pretrained), []
    model = Timm(kind="timm", name=architecture, options=own_options(options))
    classifier = classifier_name(weights, pretrained)
    table = weights.shapes.get("pos_embed")
    shapes = body_shapes(weights, model, res)
    if table and shapes.get("pos_embed") not in (None, table) and (side := table_side(table, shapes["pos_embed"], res)):
        notes.append(f"its description says images of {res} pixels, the position table {side}: {side} is used")
        res, shapes = side, body_shapes(weights, model, side)
    if "mean" not in pretrained:
        notes.append("assumed, as config.json does not say: training images in [-1, 1]")
    mappings = [map_same(f"body.{name}", name) for name in shapes]
    mappings += [map_classifier("head.weight", f"{classifier}.weight"), map_same("head.bias", f"{classifier}.bias")]
    mappings, zeros = without_head_bias(mappings, weights, classifier)
    classes = weights.shapes.get(f"{classifier}.weight", (None,))[0]
    normalization = parse_normalization(pretrained, "mean", "std") or ([0.5] * 3, [0.5] * 3)
    names = label_names(config, classes)
    return IdentifiedWeights(weights, model, res, classes, mappings, {}, notes, normalization, names, zeros)


def own_options(options: JsonObject) -> JsonObject:
    """Return the options that are those of a row, without what follows from the weights and from ``res``."""
    return {name: value for name, value in options.items() if name not in IMPLIED_OPTIONS and value is not None}


def input_side(weights: Weights, options: JsonObject, pretrained: JsonObject) -> int:
    """Return the side of the images. Raise a UserError if these are not square, or not of three channels."""
    channels, height, width = pretrained.get("input_size") or (3, 224, 224)
    channels = options.get("in_chans", channels)
    if size := options.get("img_size"):
        height, width = (size, size) if isinstance(size, int) else size
    if channels != 3:
        number = f"{channels} channel{'s' * (channels != 1)}"
        raise weights_error(weights.path, f"its images have {number}; vitrun's have 3.")
    if height != width:
        raise weights_error(weights.path, f"its images are {height}x{width} pixels; vitrun's are square.")
    return int(height)


def classifier_name(weights: Weights, pretrained: JsonObject) -> str:
    """Return the name of the last layer. Raise a UserError for a network that has two, as a distilled one."""
    classifier = pretrained.get("classifier") or "head"
    if not isinstance(classifier, str):
        raise weights_error(weights.path, f"its network ends in {' and '.join(classifier)}; vitrun's have one head.")
    return classifier


def body_shapes(weights: Weights, model: Timm, res: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of timm's network without its classifier. Raise a UserError if there is none."""
    try:
        with torch.device("meta"):
            body: Any = wrap_timm_network(model, 1, res).body
    except UserError as error:
        raise weights_error(weights.path, str(error)) from error
    return {name: tuple(tensor.shape) for name, tensor in body.state_dict().items()}


def table_side(table: tuple[int, ...], expected: tuple[int, ...], res: int) -> int | None:
    """Return the side of the images of a position table, for one of other images; None if it is not a square grid."""
    for prefix in (0, 1, 2, 5):
        if len(table) == 3 and is_square(table[1] - prefix) and is_square(expected[1] - prefix):
            side, tokens = round((table[1] - prefix) ** 0.5), round((expected[1] - prefix) ** 0.5)
            return res * side // tokens if tokens and side else None
    return None


def without_head_bias(
    mappings: list[TensorMapping], weights: Weights, classifier: str
) -> tuple[list[TensorMapping], tuple[str, ...]]:
    """Return the mappings without the bias of a head that has none, and its name in vitrun."""
    if f"{classifier}.weight" not in weights or f"{classifier}.bias" in weights:
        return mappings, ()
    return [mapping for mapping in mappings if mapping.ours != "head.bias"], ("head.bias",)
