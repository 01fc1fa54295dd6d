"""CLIPModel of transformers, in a folder."""

from dataclasses import replace
from typing import Any

import torch

from vitrun.models.build import build_uninitialized, token_stride
from vitrun.models.clip_resnet import CLIP_MEAN, CLIP_STD
from vitrun.models.formats.clip_rows import PLAIN_TEXT, TOKENS_KEY, clip_vit_row, find_tokens, name_clip
from vitrun.models.formats.hugging_face_config import REFUSED_KEYS, as_pair, config_gelu, config_normalization
from vitrun.models.formats.identify import patch_side, position_grid_side
from vitrun.models.formats.mapping import IdentifiedWeights, TensorMapping, map_leading, map_same, map_scalar, rename
from vitrun.models.tensor_files import JsonObject, Weights
from vitrun.recipes import Clip, TextTower, ViT

VISION, TEXT = "vision_model", "text_model"
LANDMARKS = {f"{VISION}.embeddings.class_embedding", "visual_projection.weight", "logit_scale"}
CLIP_CONFIG = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}  # transformers' defaults, which it leaves out
HEADS = {VISION: 12, TEXT: 8}  # transformers' defaults
OLD_END_TOKEN = 2  # of configs before transformers 4.31, with which the feature is that of the largest token
RENAMES = (  # ours -> theirs
    (r"^image\.patch_embed\.proj\.", f"{VISION}.embeddings.patch_embedding."),
    (r"^image\.cls_token$", f"{VISION}.embeddings.class_embedding"),
    (r"^image\.pos_embed$", f"{VISION}.embeddings.position_embedding.weight"),
    (r"^image\.norm_pre\.", f"{VISION}.pre_layrnorm."),
    (r"^image\.norm\.", f"{VISION}.post_layernorm."),
    (r"^image\.blocks\.", f"{VISION}.encoder.layers."),
    (r"^image_proj\.", "visual_projection."),
    (r"^text\.token_embed\.", f"{TEXT}.embeddings.token_embedding."),
    (r"^text\.pos_embed$", f"{TEXT}.embeddings.position_embedding.weight"),
    (r"^text\.norm\.", f"{TEXT}.final_layer_norm."),
    (r"^text\.proj\.", "text_projection."),
    (r"^text\.blocks\.", f"{TEXT}.encoder.layers."),
    (r"(layers\.\d+)\.norm(\d)\.", r"\1.layer_norm\2."),
    (r"\.attn\.", ".self_attn."),
    (r"\.self_attn\.proj\.", ".self_attn.out_proj."),
)


def recognise(weights: Weights) -> IdentifiedWeights | None:
    """Return the CLIP in a folder of transformers; None if its names are of another network."""
    if not weights.keys() >= LANDMARKS:
        return None
    config = weights.metadata.get("config", {})
    image = infer_image_tower(weights, read_part(config, "vision_config"))
    text = infer_text_tower(weights, read_part(config, "text_config"), config)
    rows = weights.shapes[f"{VISION}.embeddings.position_embedding.weight"][0]
    res = position_grid_side(rows) * token_stride(image)
    check_config(config, image, res)
    model = name_clip(image, text, weights.shapes["visual_projection.weight"][0], False, res)
    notes, ignored = describe_assumptions(weights, "12 heads for images, 8 for texts"), list_position_numbers(weights)
    return IdentifiedWeights(weights, model, res, 0, map_tensors(model), ignored, notes, read_normalization(weights))


def describe_assumptions(weights: Weights, heads: str) -> list[str]:
    """Return notes on what the files do not say; ``heads`` are those of the towers by default."""
    notes = [] if "preprocessor" in weights.metadata else ["assumed: images are normalised as CLIP's"]
    if not weights.metadata.get("config"):
        notes.append(f"assumed, as there is no config.json: the quick form of GELU, {heads}")
    return notes


def list_position_numbers(weights: Weights) -> dict[str, list[str]]:
    """Return the names of buffers in older files that number the positions, with the reason to leave them out."""
    return {"numbers of positions": [name for name in weights if name.endswith(".position_ids")]}


def read_normalization(weights: Weights) -> tuple[list[float], list[float]] | None:
    """Return mean and std of the training images: those of the preprocessor, else CLIP's."""
    preprocessor = weights.metadata.get("preprocessor") or {"image_mean": [*CLIP_MEAN], "image_std": [*CLIP_STD]}
    return config_normalization(preprocessor)


def read_part(config: JsonObject, key: str) -> JsonObject:
    """Return the config of a tower, with transformers' defaults."""
    return CLIP_CONFIG | {name: value for name, value in (config.get(key) or {}).items() if value is not None}


def check_config(config: JsonObject, image: ViT, res: int) -> None:
    """Raise a ValueError if ``config.json`` says something else than the tensors, or that vitrun's CLIP lacks."""
    vision = read_part(config, "vision_config")
    for key in REFUSED_KEYS:
        if config.get(key):
            raise ValueError(f"config.json has {key}, which vitrun does not support")
    for key, value in (("image_size", res), ("patch_size", image.patch)):
        if as_pair(vision.get(key, value)) != (value, value):
            raise ValueError(f"config.json has {key}={vision[key]} in vision_config, but its tensors have {value}")


def infer_image_tower(weights: Weights, config: JsonObject) -> ViT:
    """Return the row of the image tower."""
    width, channels, *patch = weights.shapes[f"{VISION}.embeddings.patch_embedding.weight"]
    return clip_vit_row(patch=patch_side(patch, channels), width=width, **infer_blocks(weights, VISION, config))


def infer_text_tower(weights: Weights, part: JsonObject, config: JsonObject) -> TextTower:
    """Return the row of the text tower. Raise a ValueError if the feature is not that of the largest token."""
    (vocabulary, width), (context, _) = (
        weights.shapes[f"{TEXT}.embeddings.{name}_embedding.weight"] for name in ("token", "position")
    )
    end = part.get("eos_token_id", OLD_END_TOKEN)
    if end not in (OLD_END_TOKEN, vocabulary - 1):
        raise ValueError(f"config.json has eos_token_id={end}; vitrun's end token is the last, {vocabulary - 1}")
    tokens = find_tokens(config.get(TOKENS_KEY), vocabulary)
    options = infer_blocks(weights, TEXT, part)
    return replace(PLAIN_TEXT, width=width, tokens=tokens, vocabulary=vocabulary, context=context, **options)


def infer_blocks(weights: Weights, tower: str, config: JsonObject) -> dict[str, Any]:
    """Return the options of the blocks of a tower."""
    prefix = f"{tower}.encoder.layers."
    depth = len({name.split(".")[3] for name in weights if name.startswith(prefix)})
    return {
        "depth": depth,
        "heads": config.get("num_attention_heads", HEADS[tower]),
        "mlp": weights.shapes[f"{prefix}0.mlp.fc1.weight"][0],
        "gelu": config_gelu(config),
        "epsilon": config["layer_norm_eps"],
    }


def map_tensors(model: Clip) -> list[TensorMapping]:
    """Return the mapping of each tensor of a CLIP that its files have."""
    names = build_uninitialized(model, 0, 4 * token_stride(model.image)).state_dict()
    return [map_tensor(name) for name in names if not name.startswith("image.head.")]


def map_tensor(ours: str) -> TensorMapping:
    """Return the mapping of one tensor: queries, keys and values are three, tables and tokens have fewer axes."""
    theirs = rename(ours, RENAMES)
    if ".qkv." in theirs:
        parts = tuple(theirs.replace(".qkv.", f".{part}_proj.") for part in "qkv")
        return TensorMapping(ours, parts, lambda *tensors: torch.cat(tensors), lambda t: t.chunk(3))
    if ours.startswith("logit_"):
        return map_scalar(ours, theirs)
    if ours in ("image.cls_token", "image.pos_embed", "text.pos_embed"):
        return map_leading(ours, theirs, 2 if ours == "image.cls_token" else 1)
    return map_same(ours, theirs)
