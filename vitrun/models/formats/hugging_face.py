"""transformers' ViTForImageClassification and ViTModel, in a file or a folder."""

import re

import torch
from torch import Tensor

from vitrun.models.build import token_stride
from vitrun.models.formats.identify import lookup_heads, name_model, position_grid_side
from vitrun.models.formats.mapping import IdentifiedWeights, TensorMapping, map_same, parse_normalization
from vitrun.models.tensor_files import Weights
from vitrun.recipes import ViT

RENAMES = (  # from the names in memory since transformers 5 to those in files
    (r"^vit\.", ""),
    (r"^layers\.(\d+)\.attention\.(q|k|v)_proj\.", r"encoder.layer.\1.attention.attention.\2."),
    (r"\.attention\.q\.", ".attention.query."),
    (r"\.attention\.k\.", ".attention.key."),
    (r"\.attention\.v\.", ".attention.value."),
    (r"^layers\.(\d+)\.attention\.o_proj\.", r"encoder.layer.\1.attention.output.dense."),
    (r"^layers\.(\d+)\.mlp\.fc1\.", r"encoder.layer.\1.intermediate.dense."),
    (r"^layers\.(\d+)\.mlp\.fc2\.", r"encoder.layer.\1.output.dense."),
    (r"^layers\.(\d+)\.", r"encoder.layer.\1."),
)
PATCH_EMBEDDING = "embeddings.patch_embeddings.projection"


def recognise(weights: Weights) -> IdentifiedWeights | None:
    """The ViT in the file, or None where its names are not of this layout."""
    weights = rename_tensors(weights)
    if f"{PATCH_EMBEDDING}.weight" not in weights or "encoder.layer.0.intermediate.dense.weight" not in weights:
        return None
    shapes, config = weights.shapes, weights.metadata.get("config", {})
    width, _, patch, _ = shapes[f"{PATCH_EMBEDDING}.weight"]
    depth = len({name.split(".")[2] for name in shapes if name.startswith("encoder.layer.")})
    mlp = shapes["encoder.layer.0.intermediate.dense.weight"][0]
    head = "classifier.weight" in shapes
    model = name_model(
        ViT(
            kind="vit",
            name="",
            patch=patch,
            width=width,
            depth=depth,
            heads=config.get("num_attention_heads") or lookup_heads(width, depth, mlp, weights.path),
            mlp=mlp,
            stem=0,
            resnet=(),
            head="token",
            pre_logits=not head and "pooler.dense.weight" in shapes,  # beside a classifier the pooler is not read
            positions="learned",
            positions_at="stem",
            dropout=0.0,
            stochastic_depth=0.0,
        )
    )
    ignored = {
        "pooler that the classifier does not read": [n for n in shapes if n.startswith("pooler.")] if head else []
    }
    mask = [name for name in shapes if name == "embeddings.mask_token"]
    res = position_grid_side(shapes["embeddings.position_embeddings"][1]) * token_stride(model)
    classes = shapes["classifier.weight"][0] if head else None
    ignored = {why: names for why, names in {**ignored, "mask token of pretraining": mask}.items() if names}
    return IdentifiedWeights(
        weights,
        model,
        res,
        classes,
        map_tensors(model),
        ignored,
        describe_differences(config),
        image_normalization(weights),
    )


def image_normalization(weights: Weights) -> tuple[list[float], list[float]] | None:
    """The normalisation of the training images that the folder's ``preprocessor_config.json`` gives."""
    return parse_normalization(weights.metadata.get("preprocessor", {}), "image_mean", "image_std")


def describe_differences(config: dict) -> list[str]:
    """What transformers computed otherwise than this network does."""
    notes = []
    if config.get("hidden_act", "gelu") == "gelu":
        notes.append(
            "GELU in its tanh form, which Google's weights were trained with; transformers' default is the exact form"
        )
    if config.get("layer_norm_eps", 1e-6) != 1e-6:
        notes.append(
            f"LayerNorm epsilon 1e-6, as Google trained; the file's config.json says {config['layer_norm_eps']:g}"
        )
    return notes


def rename_tensors(weights: Weights) -> Weights:
    """The same tensors by the names of files without the ``vit.`` before them."""
    places = {}
    for name in weights:
        short = name
        for old, new in RENAMES:
            short = re.sub(old, new, short)
        places[short] = name
    shapes = {short: weights.shapes[name] for short, name in places.items()}
    return Weights(weights.path, shapes, lambda short: weights[places[short]], weights.metadata)


def map_tensors(model: ViT) -> list[TensorMapping]:
    """Where each tensor of the network is."""
    found = [map_same("cls_token", "embeddings.cls_token"), map_same("pos_embed", "embeddings.position_embeddings")]
    pairs = [("patch_embed.proj", PATCH_EMBEDDING), ("norm", "layernorm"), ("head", "classifier")]
    pairs += [("pre_logits", "pooler.dense")] if model.pre_logits else []
    for layer in range(model.depth):
        ours, theirs = f"blocks.{layer}", f"encoder.layer.{layer}"
        pairs += [
            (f"{ours}.norm1", f"{theirs}.layernorm_before"),
            (f"{ours}.attn.proj", f"{theirs}.attention.output.dense"),
            (f"{ours}.norm2", f"{theirs}.layernorm_after"),
            (f"{ours}.mlp.fc1", f"{theirs}.intermediate.dense"),
            (f"{ours}.mlp.fc2", f"{theirs}.output.dense"),
        ]
        found += [
            map_qkv(f"{ours}.attn.qkv.{part}", f"{theirs}.attention.attention", part) for part in ("weight", "bias")
        ]
    return found + [
        map_same(f"{ours}.{part}", f"{theirs}.{part}") for ours, theirs in pairs for part in ("weight", "bias")
    ]


def map_qkv(ours: str, theirs: str, part: str) -> TensorMapping:
    """Queries, keys and values in one dense layer, of three apart."""

    def take(*parts: Tensor) -> Tensor:
        return torch.cat(parts)

    return TensorMapping(
        ours, tuple(f"{theirs}.{name}.{part}" for name in ("query", "key", "value")), take, lambda t: t.chunk(3)
    )
