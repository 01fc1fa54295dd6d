"""Folders of a CLIP: for ``CLIPModel.from_pretrained`` of transformers, and for open_clip."""

import json
from pathlib import Path

from vitrun.models.checkpoint_file import save_tensors
from vitrun.models.clip import Clip
from vitrun.models.clip_resnet import CLIP_STD
from vitrun.models.export.clip_tensors import convert_clip
from vitrun.models.export.clip_tokenizer import write_tokenizer
from vitrun.models.export.view import TIMM_MODES, Description, processor_view
from vitrun.models.formats import hugging_face_clip, open_clip
from vitrun.models.formats.clip_rows import TOKENS_KEY
from vitrun.models.formats.hugging_face_config import ACTIVATIONS
from vitrun.models.network import Network
from vitrun.models.tensor_files import JsonObject
from vitrun.recipes import Clip as Row
from vitrun.recipes import ClipResNet, TextTower, ViT


def write_hugging_face_clip(folder: Path, network: Clip, description: Description, res: int) -> None:
    """Write ``config.json``, ``preprocessor_config.json``, ``model.safetensors`` and the tokenizer, if it is known.

    Raise a UserError if its tokenizer is not installed.
    """
    row, tensors, mean = convert_clip(network, hugging_face_clip.map_tensors)
    save_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    processor: JsonObject = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    processor |= {"image_mean": mean, "image_std": [*CLIP_STD]}
    write_json(folder / "config.json", hugging_face_config(row, res))
    write_json(folder / "preprocessor_config.json", processor_view(description.view, res) | processor)
    write_tokenizer(folder, row.text)


def hugging_face_config(row: Row, res: int) -> JsonObject:
    """Return transformers' ``config.json`` of a CLIP."""
    image, text = row.image, row.text
    assert isinstance(image, ViT)
    vision = {"model_type": "clip_vision_model", "image_size": res, "patch_size": image.patch, "num_channels": 3}
    texts = {
        "model_type": "clip_text_model",
        "vocab_size": text.vocabulary,
        "max_position_embeddings": text.context,
        "bos_token_id": text.vocabulary - 2,
        "eos_token_id": text.vocabulary - 1,
        "pad_token_id": text.vocabulary - 1,
    }
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": row.features,
        "vision_config": vision | describe_blocks(image) | {"projection_dim": row.features},
        "text_config": texts | describe_blocks(text) | {"projection_dim": row.features},
        TOKENS_KEY: text.tokens,
        "dtype": "float32",
    }


def describe_blocks(tower: ViT | TextTower) -> JsonObject:
    """Return the keys of transformers for the blocks of a tower."""
    return {
        "hidden_size": tower.width,
        "num_hidden_layers": tower.depth,
        "num_attention_heads": tower.heads,
        "intermediate_size": tower.mlp,
        "hidden_act": ACTIVATIONS[tower.gelu],
        "layer_norm_eps": tower.epsilon,
        "attention_dropout": 0.0,
    }


def write_open_clip(folder: Path, network: Network, description: Description, res: int) -> None:
    """Write ``open_clip_config.json`` and ``open_clip_model.safetensors``."""
    assert isinstance(network, Clip)
    row, tensors, mean = convert_clip(network, open_clip.map_tensors)
    save_tensors(folder / "open_clip_model.safetensors", tensors, {"format": "pt"})
    view = description.view
    preprocess = {
        "mean": mean,
        "std": [*CLIP_STD],
        "interpolation": view.interpolation,
        "resize_mode": "squash" if TIMM_MODES.get(view.resize) == "squash" else "shortest",
    }
    config = {"model_cfg": open_clip_config(row, res), "preprocess_cfg": preprocess, TOKENS_KEY: row.text.tokens}
    write_json(folder / "open_clip_config.json", config)


def open_clip_config(row: Row, res: int) -> JsonObject:
    """Return open_clip's ``model_cfg``."""
    image, text = row.image, row.text
    vision: JsonObject
    if isinstance(image, ClipResNet):
        vision = {"layers": [*image.blocks], "width": image.width, "head_width": 32 * image.width // image.heads}
    else:
        vision = {"layers": image.depth, "width": image.width, "head_width": image.width // image.heads}
        vision |= {"patch_size": image.patch, "mlp_ratio": mlp_ratio(image)}
    texts = {
        "context_length": text.context,
        "vocab_size": text.vocabulary,
        "width": text.width,
        "heads": text.heads,
        "layers": text.depth,
        "mlp_ratio": mlp_ratio(text),
    }
    config = {"embed_dim": row.features, "quick_gelu": text.gelu == "quick"}
    bias = {"init_logit_bias": -10} if row.logit_bias else {}
    return config | bias | {"vision_cfg": {"image_size": res} | vision, "text_cfg": texts}


def mlp_ratio(tower: ViT | TextTower) -> float:
    """Return the ratio for which open_clip, which rounds the product down, has an MLP of this size."""
    ratio = tower.mlp / tower.width
    return ratio if int(tower.width * ratio) == tower.mlp else (tower.mlp + 0.5) / tower.width


def write_json(file: Path, content: JsonObject) -> None:
    """Write a JSON file."""
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")
