"""ViTForImageClassification and ViTModel of transformers, in a file or a folder."""

from dataclasses import replace

import torch

from vitrun.models.build import token_stride
from vitrun.models.formats.hugging_face_config import (
    check_config,
    check_model_type,
    class_names,
    config_gelu,
    config_normalization,
)
from vitrun.models.formats.identify import (
    PLAIN_VIT,
    describe_assumptions,
    lookup_heads,
    name_model,
    patch_side,
    position_grid_side,
)
from vitrun.models.formats.mapping import IdentifiedWeights, TensorMapping, drop_absent, map_layers, map_same, rename
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
    config = weights.metadata.get("config", {})
    if "architecture" not in config or "model_type" in config:  # no folder of timm
        check_model_type(config, weights.path)
    weights = weights.rename({rename(name, RENAMES): name for name in weights})
    if f"{PATCH_EMBEDDING}.weight" not in weights or "encoder.layer.0.intermediate.dense.weight" not in weights:
        return None
    model, rows = infer_model(weights), weights.shapes["embeddings.position_embeddings"][1]
    check_config(config, model, rows)
    res = position_grid_side(rows) * token_stride(model)
    classes = weights.shapes.get("classifier.weight", (None,))[0]
    has_biases = config.get("qkv_bias", True)
    mappings, zeros = drop_absent(map_tensors(model), weights, "none" if has_biases else ".qkv.bias")
    return IdentifiedWeights(
        weights,
        model,
        res,
        classes,
        mappings,
        list_ignored(weights),
        describe_assumptions_of(weights, model, res),
        config_normalization(weights.metadata.get("preprocessor", {})),
        class_names(config, classes),
        tuple(zeros),
    )


def infer_model(weights: Weights) -> ViT:
    """Return the model. Raise a UserError if the number of heads is unknown."""
    shapes, config = weights.shapes, weights.metadata.get("config", {})
    width, channels, *patch = shapes[f"{PATCH_EMBEDDING}.weight"]
    depth = len({name.split(".")[2] for name in shapes if name.startswith("encoder.layer.")})
    mlp = shapes["encoder.layer.0.intermediate.dense.weight"][0]
    has_pooler = "classifier.weight" not in shapes and "pooler.dense.weight" in shapes
    return name_model(
        replace(
            PLAIN_VIT,
            patch=patch_side(patch, channels),
            width=width,
            depth=depth,
            heads=config.get("num_attention_heads") or lookup_heads(width, depth, mlp, weights.path),
            mlp=mlp,
            pre_logits=has_pooler,
            gelu=config_gelu(config),
            epsilon=config.get("layer_norm_eps", 1e-12),  # transformers' default
        )
    )


def list_ignored(weights: Weights) -> dict[str, list[str]]:
    """Return the names of the tensors that are not part of the network, by reason."""
    poolers = [name for name in weights if name.startswith("pooler.") and "classifier.weight" in weights]
    mask_tokens = [name for name in weights if name == "embeddings.mask_token"]
    ignored = {"pooler that the classifier does not use": poolers, "mask token of pretraining": mask_tokens}
    return {reason: names for reason, names in ignored.items() if names}


def describe_assumptions_of(weights: Weights, model: ViT, res: int) -> list[str]:
    """Return a note on what the file or folder does not say."""
    images = [] if "preprocessor" in weights.metadata else ["training images in [-1, 1]"]
    if "config" not in weights.metadata:
        return [describe_assumptions(model, res, *images)]
    if images:
        return ["assumed, as there is no preprocessor_config.json: training images in [-1, 1]"]
    return []


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
    return mappings + map_layers(pairs)


def map_qkv(ours: str, theirs: str, part: str) -> TensorMapping:
    """Map one dense layer of queries, keys and values and three separate ones."""
    sources = tuple(f"{theirs}.{name}.{part}" for name in ("query", "key", "value"))
    return TensorMapping(ours, sources, lambda *parts: torch.cat(parts), lambda t: t.chunk(3))
