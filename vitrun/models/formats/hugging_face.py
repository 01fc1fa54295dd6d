"""ViTForImageClassification and ViTModel of transformers, in a file or a folder."""

from typing import Any

import torch

from vitrun.models.build import token_stride
from vitrun.models.formats.identify import lookup_heads, name_model, position_grid_side
from vitrun.models.formats.mapping import IdentifiedWeights, TensorMapping, map_same, parse_normalization, rename
from vitrun.models.tensor_files import Weights
from vitrun.recipes import ViT

RENAMES = (  # names in memory, since transformers 5 -> names in files
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
    """Return the ViT in a file; None if its names are not of this layout."""
    weights = weights.rename({rename(name, RENAMES): name for name in weights})
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
            pre_logits=not head and "pooler.dense.weight" in shapes,  # with a classifier the pooler is not used
            positions="learned",
            positions_at="stem",
            dropout=0.0,
            stochastic_depth=0.0,
        )
    )
    ignored = {
        "pooler that the classifier does not use": [n for n in shapes if n.startswith("pooler.")] if head else [],
        "mask token of pretraining": [name for name in shapes if name == "embeddings.mask_token"],
    }
    res = position_grid_side(shapes["embeddings.position_embeddings"][1]) * token_stride(model)
    classes = shapes["classifier.weight"][0] if head else None
    ignored = {reason: names for reason, names in ignored.items() if names}
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
    """Return the normalisation of the training images in the folder's ``preprocessor_config.json``."""
    return parse_normalization(weights.metadata.get("preprocessor", {}), "image_mean", "image_std")


def describe_differences(config: dict[str, Any]) -> list[str]:
    """Return notes on what transformers computes in another way than this network."""
    notes = []
    if config.get("hidden_act", "gelu") == "gelu":
        notes.append("using the tanh form of GELU, with which Google trained; transformers' default is the exact form")
    if config.get("layer_norm_eps", 1e-6) != 1e-6:
        notes.append(
            f"using LayerNorm epsilon 1e-6, as Google did; the file's config.json has {config['layer_norm_eps']:g}"
        )
    return notes


def map_tensors(model: ViT) -> list[TensorMapping]:
    """Return the mapping of each tensor."""
    mappings = [map_same("cls_token", "embeddings.cls_token"), map_same("pos_embed", "embeddings.position_embeddings")]
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
        mappings += [
            map_qkv(f"{ours}.attn.qkv.{part}", f"{theirs}.attention.attention", part) for part in ("weight", "bias")
        ]
    return mappings + [
        map_same(f"{ours}.{part}", f"{theirs}.{part}") for ours, theirs in pairs for part in ("weight", "bias")
    ]


def map_qkv(ours: str, theirs: str, part: str) -> TensorMapping:
    """Map one dense layer of queries, keys and values and three separate ones."""
    sources = tuple(f"{theirs}.{name}.{part}" for name in ("query", "key", "value"))
    return TensorMapping(ours, sources, lambda *parts: torch.cat(parts), lambda t: t.chunk(3))
