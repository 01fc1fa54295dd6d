"""ViTs, hybrids and BiT by timm's names, in a state dict or a folder of timm; any other network in a folder."""

import re
from dataclasses import replace
from typing import Literal

from vitrun.models.build import build_uninitialized, token_stride
from vitrun.models.formats.identify import (
    PLAIN_VIT,
    describe_assumptions,
    is_square,
    lookup_heads,
    name_model,
    patch_side,
    position_grid_side,
)
from vitrun.models.formats.jax_resnet import count_units
from vitrun.models.formats.jax_vit import map_positions
from vitrun.models.formats.mapping import (
    IdentifiedWeights,
    TensorMapping,
    drop_absent,
    label_names,
    map_classifier,
    map_same,
    parse_normalization,
)
from vitrun.models.formats.timm_checkpoint import describe_checkpoint, fits, list_assumptions
from vitrun.models.formats.timm_epsilons import rescale_for_timm, rescale_tokens
from vitrun.models.formats.timm_network import identify_timm_network
from vitrun.models.tensor_files import JsonObject, Weights, weights_error
from vitrun.recipes import BiT, ViT

# Google's weights, converted by timm
GOOGLE_TAGS = re.compile(r"vit_\w+\.(orig_in21k|augreg_in|sam_in)\w*|resnetv2_\w+_bit\.goog_\w+")
SCALED_KEY = "vitrun_scaled"  # in config.json: tensors were scaled for timm's epsilons
EPSILON_KEY = "vitrun_epsilon"  # in config.json: the epsilon of LayerNorm for which they were scaled
# ``act_layer`` of each form of GELU
GELUS: dict[str, Literal["tanh", "exact", "quick"]] = {"gelu_tanh": "tanh", "gelu": "exact", "quick_gelu": "quick"}
TRUNK = "patch_embed.backbone"
UNIT_PATTERN = r"stages\.(\d+)\.blocks\.(\d+)\."
TIMM_PARTS = {  # the end of a tensor's name -> the part of a ViT that timm has and vitrun lacks
    "dist_token": "a distillation token",
    "reg_token": "registers",
    "ls1.gamma": "layer scale",
    "gamma_1": "layer scale",
    "q_norm.weight": "norms of queries and keys",
    "fc_norm.weight": "a norm after pooling",
    "relative_position_bias_table": "relative position biases",
    "mlp.fc1_g.weight": "gated MLPs",
    "mlp.w12.weight": "gated MLPs",
}
MAE_DECODER = "decoder of a masked autoencoder"
MISFIT_NOTE = "its args name timm's {}, of which these tensors are not: only the tensors are followed"
POOLS = {"token": "token", "gap": "avg", "map": "map"}  # ``global_pool`` of each head


def recognise(weights: Weights) -> IdentifiedWeights | None:
    """Return the network in a file; None if its names are not timm's.

    It is vitrun's for a file or an export of vitrun; for any other folder, and for a checkpoint whose arguments name
    it, it is timm's, as timm computes it.
    """
    config = weights.metadata.get("config", {})
    if "architecture" in config and SCALED_KEY not in config:
        return identify_timm_network(weights, config)
    named = {} if config else describe_checkpoint(weights)
    is_vit = "patch_embed.proj.weight" in weights and "blocks.0.attn.qkv.weight" in weights
    if named and (not is_vit or fits(weights, named)):
        source = identify_timm_network(weights, named)
        return replace(source, notes=[*list_assumptions(weights, named["architecture"]), *source.notes])
    if is_vit:
        source = identify_vit(weights, config)
        return replace(source, notes=[*source.notes, MISFIT_NOTE.format(named["architecture"])]) if named else source
    if {"stem.conv.weight", "stages.0.blocks.0.norm1.weight", "norm.weight"} <= weights.keys():
        return identify_bit(weights, config)
    return None


def check_parts(weights: Weights) -> None:
    """Raise a UserError that names a part of timm's ``VisionTransformer`` that vitrun's ViT lacks."""
    for tensor, part in TIMM_PARTS.items():
        if name := next((name for name in weights if name.endswith(tensor)), None):
            way = 'Give the folder of timm.models.save_for_hf(network, "FOLDER"), which is computed by timm.'
            two_heads = "timm's network of it has two heads, and vitrun's have one."
            why = f"it has {part} ({name}), which vitrun's ViT lacks. {two_heads if tensor == 'dist_token' else way}"
            raise weights_error(weights.path, why)


def identify_vit(weights: Weights, config: JsonObject) -> IdentifiedWeights:
    """Return the ViT or hybrid of timm's ``VisionTransformer``; ``config`` is its folder's ``config.json``."""
    check_parts(weights)
    options, pretrained = config.get("model_args") or {}, config.get("pretrained_cfg") or {}
    model, table = infer_vit(weights, config), weights.shapes.get("pos_embed")
    check_options(options, model)
    res = position_grid_side(table[1]) * token_stride(model) if table else options.get("img_size")
    notes = [] if config else [describe_assumptions(model, res, "training images in [-1, 1]")]
    if table and model.head == "token" and is_square(table[1]):
        notes.append("positions were added before the class token: its own position is zero")
    classes = weights.shapes["head.weight"][0] if "head.weight" in weights else None
    mappings, zeros = drop_absent(map_vit_tensors(model, SCALED_KEY in config), weights, ".qkv.bias")
    normalization = foldable_normalization(pretrained, model, weights)
    names = label_names(config, classes)
    ignored = {MAE_DECODER: [name for name in weights if name == "mask_token" or name.startswith("decoder_")]}
    return IdentifiedWeights(weights, model, res, classes, mappings, ignored, notes, normalization, names, tuple(zeros))


def lookup_gelu(name: str) -> Literal["tanh", "exact", "quick"]:
    """Return the form of GELU of timm's ``act_layer``. Raise a ValueError for any other activation."""
    if name not in GELUS:
        raise ValueError(f"config.json has act_layer={name!r}; vitrun's ViTs have {', '.join(GELUS)}")
    return GELUS[name]


def check_options(options: JsonObject, model: ViT) -> None:
    """Raise a ValueError if ``model_args`` of an export of vitrun say something else than its tensors."""
    expected = {
        "act_layer": options.get("act_layer"),
        "class_token": model.head == "token",
        "depth": model.depth,
        "embed_dim": model.width,
        "fc_norm": False,
        "global_pool": POOLS[model.head],
        "img_size": options.get("img_size"),
        "mlp_ratio": (model.mlp + 0.5) / model.width,  # timm rounds the product down
        "num_heads": model.heads,
        "patch_size": model.patch,
        "pre_norm": model.norm_pre,
    }
    for name, value in options.items():
        if name not in expected or value != expected[name]:
            raise ValueError(f"config.json has {name}={value!r} in model_args, which is not what vitrun exported")


def infer_vit(weights: Weights, config: JsonObject) -> ViT:
    """Return the row of a ViT or hybrid. Raise a UserError if the number of heads is unknown."""
    shapes, options = weights.shapes, config.get("model_args") or {}
    width, channels, *patch = shapes["patch_embed.proj.weight"]
    root = shapes.get(f"{TRUNK}.stem.conv.weight") or shapes.get(f"{TRUNK}.conv.weight")
    depth = len({name.split(".")[1] for name in shapes if name.startswith("blocks.")})
    mlp = shapes["blocks.0.mlp.fc1.weight"][0]
    return name_model(
        replace(
            PLAIN_VIT,
            patch=patch_side(patch, root[1] if root else channels),
            width=width,
            depth=depth,
            heads=options.get("num_heads") or lookup_heads(width, depth, mlp, weights.path),
            mlp=mlp,
            stem=root[0] if root else 0,
            resnet=count_units(shapes, rf"{TRUNK}\.{UNIT_PATTERN}"),
            head="token" if "cls_token" in shapes else "map" if "attn_pool.latent" in shapes else "gap",
            positions="learned" if "pos_embed" in shapes else "none",
            gelu=lookup_gelu(options.get("act_layer", "gelu" if config else "gelu_tanh")),
            epsilon=config.get(EPSILON_KEY, PLAIN_VIT.epsilon),
            norm_pre="norm_pre.weight" in shapes,
        )
    )


def foldable_normalization(
    pretrained: JsonObject, model: ViT, weights: Weights
) -> tuple[list[float], list[float]] | None:
    """Return the normalisation of the training images, to be folded into the patch embedding.

    Raise a UserError for a hybrid with one, since its padding is zero in the normalised image.
    """
    normalization = parse_normalization(pretrained, "mean", "std")
    if normalization and model.stem:
        raise weights_error(
            weights.path, "a hybrid that was trained on images with another mean or std than 0.5 cannot be converted."
        )
    return normalization


def map_vit_tensors(model: ViT, scaled: bool) -> list[TensorMapping]:
    """Return the mapping of each tensor: the names are the same, except for a stem without stages."""
    names = build_uninitialized(model, 1, 4 * token_stride(model)).state_dict()
    mappings = [map_same(name, name if model.resnet else name.replace(f"{TRUNK}.stem.", f"{TRUNK}.")) for name in names]
    table = map_positions(model)
    mappings = [
        TensorMapping("pos_embed", ("pos_embed",), table.convert, table.invert) if m.ours == "pos_embed" else m
        for m in mappings
    ]
    if scaled:
        mappings = rescale_tokens(mappings, model)
    return rescale_for_timm(mappings, hybrid=True) if model.stem and scaled else mappings


def identify_bit(weights: Weights, config: JsonObject) -> IdentifiedWeights:
    """Return the BiT of timm's ``ResNetV2``; ``config`` is its folder's ``config.json``."""
    model = name_model(
        BiT(
            kind="bit",
            name="",
            blocks=count_units(weights.shapes, UNIT_PATTERN),  # type: ignore[arg-type]  # pydantic checks it
            width_factor=weights.shapes["stem.conv.weight"][0] / 64,
            border="zero",
        )
    )
    classes = weights.shapes.get("head.fc.weight", [None])[0]
    res = (config.get("pretrained_cfg") or {}).get("input_size", [None])[-1]
    mappings, names = map_bit_tensors(model, SCALED_KEY in config), label_names(config, classes)
    return IdentifiedWeights(weights, model, res, classes, mappings, names=names)


def map_bit_tensors(model: BiT, scaled: bool) -> list[TensorMapping]:
    """Return the mapping of each tensor: the names are the same; the head is a 1x1 convolution."""
    names = [name for name in build_uninitialized(model, 1, 224).state_dict() if not name.startswith("head.")]
    body = [map_same(name, name) for name in names]
    head = [map_classifier("head.weight", "head.fc.weight"), map_same("head.bias", "head.fc.bias")]
    return (rescale_for_timm(body, hybrid=False) if scaled else body) + head
