"""ViTs, hybrids and BiT by timm's names, in a state dict or a folder of timm's; any other network in a folder."""

import re

import torch

from vitrun.models.build import shaped, stride
from vitrun.models.formats.identify import grid, heads, named, square
from vitrun.models.formats.jax_resnet import units
from vitrun.models.formats.jax_vit import positions
from vitrun.models.formats.mapping import Entry, Source, normalised, same
from vitrun.models.formats.timm_epsilons import met
from vitrun.models.tensor_files import Weights, wrong
from vitrun.recipes import BiT, Timm, ViT

GOOGLE = re.compile(
    r"vit_\w+\.(orig_in21k|augreg_in|sam_in)\w*|resnetv2_\w+_bit\.goog_\w+"
)  # published; timm converted them
SCALED = "vitrun_scaled"  # in config.json: tensors were scaled to meet timm's epsilons
TRUNK = "patch_embed.backbone"
UNIT = r"stages\.(\d+)\.blocks\.(\d+)\."
EXACT_GELU = "GELU in its tanh form, as Google trained; weights that timm trained need the folder, with config.json"


def recognise(weights: Weights) -> Source | None:
    """The network in the file: ours where timm's is not meant, timm's own where its folder names it, else None.

    A folder of Google's weights, or of our export, is meant as published; any other as timm computes it.
    """
    config = weights.facts.get("config", {})
    if "architecture" in config and not as_published(config):
        return other(weights, config)
    if "patch_embed.proj.weight" in weights and "blocks.0.attn.qkv.weight" in weights:
        return vit(weights, config)
    if {"stem.conv.weight", "stages.0.blocks.0.norm1.weight", "norm.weight"} <= weights.keys():
        return bit(weights, config)
    return None


def as_published(config: dict) -> bool:
    """Whether timm's folder holds a published network: an export of ours, or Google's weights by their tag."""
    tag = (config.get("pretrained_cfg") or {}).get("tag")
    return SCALED in config or GOOGLE.fullmatch(f"{config['architecture']}.{tag}") is not None


def vit(weights: Weights, config: dict) -> Source:
    """The ViT or hybrid of timm's ``VisionTransformer``; ``config`` is what its folder says of it."""
    options, facts = config.get("model_args") or {}, config.get("pretrained_cfg") or {}
    shapes = weights.shapes
    width, _, patch, _ = shapes["patch_embed.proj.weight"]
    stem = shapes.get(f"{TRUNK}.stem.conv.weight") or shapes.get(f"{TRUNK}.conv.weight") or [0]
    table = shapes.get("pos_embed")
    depth = len({name.split(".")[1] for name in shapes if name.startswith("blocks.")})
    mlp = shapes["blocks.0.mlp.fc1.weight"][0]
    model = named(
        ViT(
            kind="vit",
            name="",
            patch=patch,
            width=width,
            depth=depth,
            heads=options.get("num_heads") or heads(width, depth, mlp, weights.path),
            mlp=mlp,
            stem=stem[0],
            resnet=units(shapes, rf"{TRUNK}\.{UNIT}"),
            head="token" if "cls_token" in shapes else "map" if "attn_pool.latent" in shapes else "gap",
            pre_logits=False,
            positions="learned" if table else "none",
            positions_at="stem",
            dropout=0.0,
            stochastic_depth=0.0,
        )
    )
    notes = [] if config else [EXACT_GELU]
    if table and model.head == "token" and square(table[1]):
        notes.append("positions were added before the class token: its own is zero")
    res = grid(table[1]) * stride(model) if table else options.get("img_size")
    classes = shapes["head.weight"][0] if "head.weight" in shapes else None
    found = vit_entries(model, SCALED in config)
    return Source(weights, model, res, classes, found, {}, notes, folded(facts, model, weights))


def folded(facts: dict, model: ViT, weights: Weights) -> tuple[list[float], list[float]] | None:
    """The normalisation of the training images, which a patch embedding can take over and a padded stem cannot."""
    found = normalised(facts, "mean", "std")
    if found and model.stem:
        raise wrong(weights.path, "a hybrid trained on images of another mean than 0.5, which its padding keeps so.")
    return found


def vit_entries(model: ViT, scaled: bool) -> list[Entry]:
    """Where each tensor of the network is: at its own name, except around a stem alone."""
    names = shaped(model, 1, 4 * stride(model)).state_dict()
    found = [same(name, name if model.resnet else name.replace(f"{TRUNK}.stem.", f"{TRUNK}.")) for name in names]
    table = positions(model)
    found = [Entry("pos_embed", ("pos_embed",), table.take, table.give) if e.ours == "pos_embed" else e for e in found]
    return met(found, hybrid=True) if model.stem and scaled else found


def bit(weights: Weights, config: dict) -> Source:
    """The BiT of timm's ``ResNetV2``; ``config`` is what its folder says of it."""
    model = named(
        BiT(
            kind="bit",
            name="",
            blocks=units(weights.shapes, UNIT),
            width_factor=weights.shapes["stem.conv.weight"][0] / 64,
            border="zero",
        )
    )
    classes = weights.shapes.get("head.fc.weight", [None])[0]
    res = (config.get("pretrained_cfg") or {}).get("input_size", [None])[-1]
    return Source(weights, model, res, classes, bit_entries(model, SCALED in config))


def bit_entries(model: BiT, scaled: bool) -> list[Entry]:
    """Where each tensor of the network is: at its own name, the head a 1x1 convolution."""
    names = [name for name in shaped(model, 1, 224).state_dict() if not name.startswith("head.")]
    found = [same(name, name) for name in names]
    head = [convolution("head.weight", "head.fc.weight"), same("head.bias", "head.fc.bias")]
    return (met(found, hybrid=False) if scaled else found) + head


def convolution(ours: str, theirs: str) -> Entry:
    """A dense weight [C, D] of one, or of a 1x1 convolution [C, D, 1, 1]; given as the convolution."""
    return Entry(ours, (theirs,), lambda kernel: kernel.flatten(1), lambda weight: (weight[:, :, None, None],))


def other(weights: Weights, config: dict) -> Source:
    """timm's own network by the name in its folder."""
    options, facts = config.get("model_args") or {}, config.get("pretrained_cfg") or {}
    if set(options) - {"img_size"}:
        raise wrong(weights.path, f"timm built it with {options}; vitrun keeps the name of a timm network only.")
    model = Timm(kind="timm", name=config["architecture"])
    res, classifier = facts.get("input_size", (3, 224, 224))[-1], facts.get("classifier", "head")
    with torch.device("meta"):
        names = shaped(model, 1, res).body.state_dict()
    found = [same(f"body.{name}", name) for name in names]
    found += [convolution("head.weight", f"{classifier}.weight"), same("head.bias", f"{classifier}.bias")]
    classes = weights.shapes.get(f"{classifier}.weight", [None])[0]
    images = normalised(facts, "mean", "std") or ([0.5] * 3, [0.5] * 3)
    return Source(weights, model, res, classes, found, normalised=images)
