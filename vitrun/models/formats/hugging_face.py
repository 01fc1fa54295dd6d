"""ViTForImageClassification and ViTModel of transformers, in a file or a folder."""

from dataclasses import replace

import torch

from vitrun.models.build import token_stride
from vitrun.models.formats.identify import PLAIN_VIT, lookup_heads, name_model, position_grid_side
from vitrun.models.formats.mapping import IdentifiedWeights, TensorMapping, map_same, parse_normalization, rename
from vitrun.models.tensor_files import JsonObject, Weights
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
ACTIVATIONS = {"tanh": "gelu_pytorch_tanh", "exact": "gelu", "quick": "quick_gelu"}  # ``hidden_act`` of each GELU
PATCH_EMBEDDING = "embeddings.patch_embeddings.projection"


def recognise(weights: Weights) -> IdentifiedWeights | None:
    """Return the ViT in a file; None if its names are not of this layout."""
    weights = weights.rename({rename(name, RENAMES): name for name in weights})
    if f"{PATCH_EMBEDDING}.weight" not in weights or "encoder.layer.0.intermediate.dense.weight" not in weights:
        return None
    model, config = infer_model(weights), weights.metadata.get("config", {})
    res = position_grid_side(weights.shapes["embeddings.position_embeddings"][1]) * token_stride(model)
    classes = weights.shapes.get("classifier.weight", (None,))[0]
    notes, normalization = describe_differences(config), image_normalization(weights)
    return IdentifiedWeights(
        weights, model, res, classes, map_tensors(model), list_ignored(weights), notes, normalization
    )


def infer_model(weights: Weights) -> ViT:
    """Return the model. Raise a UserError if the number of heads is unknown."""
    shapes, config = weights.shapes, weights.metadata.get("config", {})
    width, _, patch, _ = shapes[f"{PATCH_EMBEDDING}.weight"]
    depth = len({name.split(".")[2] for name in shapes if name.startswith("encoder.layer.")})
    mlp = shapes["encoder.layer.0.intermediate.dense.weight"][0]
    return name_model(
        replace(
            PLAIN_VIT,
            patch=patch,
            width=width,
            depth=depth,
            heads=config.get("num_attention_heads") or lookup_heads(width, depth, mlp, weights.path),
            mlp=mlp,
            # With a classifier the pooler is not used.
            pre_logits="pooler.dense.weight" in shapes and "classifier.weight" not in shapes,
        )
    )


def list_ignored(weights: Weights) -> dict[str, list[str]]:
    """Return the names of the tensors that are not part of the network, by reason."""
    poolers = [name for name in weights if name.startswith("pooler.") and "classifier.weight" in weights]
    mask_tokens = [name for name in weights if name == "embeddings.mask_token"]
    ignored = {"pooler that the classifier does not use": poolers, "mask token of pretraining": mask_tokens}
    return {reason: names for reason, names in ignored.items() if names}


def image_normalization(weights: Weights) -> tuple[list[float], list[float]] | None:
    """Return the normalisation of the training images in the folder's ``preprocessor_config.json``."""
    return parse_normalization(weights.metadata.get("preprocessor", {}), "image_mean", "image_std")


def describe_differences(config: JsonObject) -> list[str]:
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
