"""CLIPs of open_clip and of OpenAI, in a folder with ``open_clip_config.json`` or in a file."""

import re
from dataclasses import replace
from typing import Literal

from vitrun.models.build import build_uninitialized, token_stride
from vitrun.models.clip_resnet import CLIP_MEAN, CLIP_STD
from vitrun.models.formats.clip_rows import PLAIN_TEXT, TOKENS_KEY, clip_vit_row, find_tokens, name_clip
from vitrun.models.formats.identify import patch_side, position_grid_side
from vitrun.models.formats.mapping import (
    IdentifiedWeights,
    TensorMapping,
    check_normalization,
    map_leading,
    map_same,
    map_scalar,
    map_transposed,
    rename,
)
from vitrun.models.tensor_files import JsonObject, Weights
from vitrun.recipes import Clip, ClipResNet, TextTower, ViT

LANDMARKS = {"visual.conv1.weight", "token_embedding.weight", "text_projection"}
HEAD_WIDTH = 64  # channels of a head, in every published CLIP
OPENAI_TENSORS = ("input_resolution", "context_length", "vocab_size")  # beside the weights in OpenAI's own files
RENAMES = (  # ours -> theirs
    (r"^image\.stem\.", "visual."),
    (r"^image\.attn_pool\.(q|k|v)\.", r"visual.attnpool.\1_proj."),
    (r"^image\.attn_pool\.proj\.", "visual.attnpool.c_proj."),
    (r"^image\.patch_embed\.proj\.", "visual.conv1."),
    (r"^image\.cls_token$", "visual.class_embedding"),
    (r"^image\.pos_embed$", "visual.positional_embedding"),
    (r"^image\.norm_pre\.", "visual.ln_pre."),
    (r"^image\.norm\.", "visual.ln_post."),
    (r"^image\.blocks\.", "visual.transformer.resblocks."),
    (r"^image_proj\.weight$", "visual.proj"),
    (r"^text\.token_embed\.", "token_embedding."),
    (r"^text\.pos_embed$", "positional_embedding"),
    (r"^text\.norm\.", "ln_final."),
    (r"^text\.proj\.weight$", "text_projection"),
    (r"^text\.blocks\.", "transformer.resblocks."),
    (r"(resblocks\.\d+)\.norm(\d)\.", r"\1.ln_\2."),
    (r"\.attn\.qkv\.", ".attn.in_proj_"),
    (r"\.attn\.proj\.", ".attn.out_proj."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)
# Options of open_clip's towers that vitrun follows; any other that is set changes what the same tensors compute
VISION_KEYS = {"image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio", "patch_dropout"}
TEXT_KEYS = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
MODEL_KEYS = {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg", "init_logit_scale", "init_logit_bias"}


def recognise(weights: Weights) -> IdentifiedWeights | None:
    """Return the CLIP in a file; None if its names are not open_clip's."""
    if not weights.keys() >= LANDMARKS:
        return None
    file = weights.metadata.get("open_clip", {})
    config = file.get("model_cfg") or {}
    check_options(config)
    gelu: Literal["exact", "quick"] = "quick" if config.get("quick_gelu") else "exact"
    notes = [] if config else [describe_assumptions()]
    if not config and set(OPENAI_TENSORS) & weights.keys():
        gelu, notes = "quick", []
    image, res = infer_image_tower(weights, config.get("vision_cfg") or {}, gelu)
    text = infer_text_tower(weights, config.get("text_cfg") or {}, gelu, file)
    features = weights.shapes["text_projection"][1]
    model = name_clip(image, text, features, "logit_bias" in weights, res)
    preprocess = file.get("preprocess_cfg") or {}
    normalization = check_normalization([*preprocess.get("mean", CLIP_MEAN)], [*preprocess.get("std", CLIP_STD)])
    ignored = {"numbers that OpenAI's files have beside": [name for name in OPENAI_TENSORS if name in weights]}
    return IdentifiedWeights(weights, model, res, 0, map_tensors(model), ignored, notes, normalization)


def describe_assumptions() -> str:
    """Return the note on what a file without ``open_clip_config.json`` does not say."""
    return (
        "assumed, as the file does not say: heads of 64 channels, the exact form of GELU (OpenAI's weights have the "
        "quick one), images normalised as CLIP's; a folder with open_clip_config.json says it"
    )


def check_options(config: JsonObject) -> None:
    """Raise a ValueError for an option of ``model_cfg`` that vitrun's CLIP cannot follow."""
    parts = (("", config, MODEL_KEYS), ("vision_cfg.", config.get("vision_cfg") or {}, VISION_KEYS))
    for prefix, options, known in (*parts, ("text_cfg.", config.get("text_cfg") or {}, TEXT_KEYS)):
        for key, value in options.items():
            if key not in known and value:
                raise ValueError(
                    f"open_clip_config.json has {prefix}{key}={value!r}, which vitrun's CLIP does not support"
                )


def infer_image_tower(
    weights: Weights, config: JsonObject, gelu: Literal["exact", "quick"]
) -> tuple[ViT | ClipResNet, int]:
    """Return the row of the image tower, and the side of its images."""
    shapes = weights.shapes
    if "visual.layer1.0.conv1.weight" in shapes:
        rows, channels = shapes["visual.attnpool.positional_embedding"]
        blocks = [len({n.split(".")[2] for n in shapes if n.startswith(f"visual.layer{i}.")}) for i in range(1, 5)]
        tower = ClipResNet(
            kind="clip_resnet",
            name="image",
            blocks=(blocks[0], blocks[1], blocks[2], blocks[3]),
            width=channels // 32,
            heads=channels // config.get("head_width", HEAD_WIDTH),
            features=shapes["visual.attnpool.c_proj.weight"][0],
        )
        return tower, position_grid_side(rows) * tower.stride
    width, channels, *patch = shapes["visual.conv1.weight"]
    row = clip_vit_row(
        patch=patch_side(patch, channels),
        width=width,
        depth=count_blocks(weights, "visual.transformer."),
        heads=width // config.get("head_width", HEAD_WIDTH),
        mlp=shapes["visual.transformer.resblocks.0.mlp.c_fc.weight"][0],
        gelu=gelu,
        norm_pre="visual.ln_pre.weight" in shapes,
    )
    return row, position_grid_side(shapes["visual.positional_embedding"][0]) * token_stride(row)


def infer_text_tower(
    weights: Weights, config: JsonObject, gelu: Literal["exact", "quick"], file: JsonObject
) -> TextTower:
    """Return the row of the text tower; ``file`` is all of ``open_clip_config.json``."""
    (vocabulary, width), (context, _) = (
        weights.shapes[name] for name in ("token_embedding.weight", "positional_embedding")
    )
    return replace(
        PLAIN_TEXT,
        width=width,
        depth=count_blocks(weights, "transformer."),
        heads=config.get("heads") or width // HEAD_WIDTH,
        mlp=weights.shapes["transformer.resblocks.0.mlp.c_fc.weight"][0],
        tokens=find_tokens(file.get(TOKENS_KEY), vocabulary),
        vocabulary=vocabulary,
        context=context,
        gelu=gelu,
    )


def count_blocks(weights: Weights, prefix: str) -> int:
    """Return the number of blocks of the transformer whose names begin with ``prefix``."""
    pattern = re.compile(rf"{re.escape(prefix)}resblocks\.(\d+)\.")
    return len({match[1] for name in weights if (match := pattern.match(name))})


def map_tensors(model: Clip) -> list[TensorMapping]:
    """Return the mapping of each tensor of a CLIP that its files have."""
    names = build_uninitialized(model, 0, 4 * token_stride(model.image)).state_dict()
    mapped = [name for name in names if not name.startswith("image.head.") and name != "image.shift"]
    return [map_tensor(name, rename_tensor(name, model)) for name in mapped]


def rename_tensor(name: str, model: Clip) -> str:
    """Return open_clip's name of a tensor."""
    if match := re.match(r"image\.stages\.(\d+)\.blocks\.(\d+)\.(.*)", name):
        return f"visual.layer{int(match[1]) + 1}.{match[2]}.{match[3]}"
    if name == "image.pos_embed" and isinstance(model.image, ClipResNet):
        return "visual.attnpool.positional_embedding"
    return rename(name, RENAMES)


def map_tensor(ours: str, theirs: str) -> TensorMapping:
    """Return the mapping of one tensor: tables and tokens have axes of size 1 here, projections are transposed."""
    if ours.startswith("logit_"):
        return map_scalar(ours, theirs)
    if ours in ("image_proj.weight", "text.proj.weight"):
        return map_transposed(ours, theirs)
    if ours in ("image.cls_token", "image.pos_embed", "text.pos_embed"):
        return map_leading(ours, theirs, 2 if ours == "image.cls_token" else 1)
    return map_same(ours, theirs)
