"""Folders for ``ImageGPTForCausalImageModeling.from_pretrained`` of transformers."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from vitrun.models.checkpoint_file import save_tensors
from vitrun.models.export.portable import export_tensors
from vitrun.models.formats import hugging_face_igpt
from vitrun.models.formats.hugging_face_config import ACTIVATIONS
from vitrun.models.igpt import IGpt
from vitrun.models.tensor_files import JsonObject
from vitrun.recipes import IGpt as Row

LAYERS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")  # of a block, which have biases in transformers


def write_hugging_face_igpt(folder: Path, network: IGpt, names: Sequence[str], res: int) -> None:
    """Write ``config.json``, ``preprocessor_config.json`` with the colours, and ``model.safetensors``.

    A network with a head becomes ``ImageGPTForImageClassification``.
    """
    row, classes = network.row, network.head.out_features
    tensors, mappings = with_biases(network), hugging_face_igpt.map_tensors(replace(row, bias=True))
    exported = export_tensors([m for m in mappings if m.ours != "start"], tensors)
    if row.start:
        exported[hugging_face_igpt.EMBEDDING][-1] = tensors["start"].flatten()
    colours = exported.pop(hugging_face_igpt.CLUSTERS)
    for name in ("lm_head.weight", "score.bias") if classes else ("score.weight", "score.bias"):
        exported.pop(name, None)
    save_tensors(folder / "model.safetensors", exported, {"format": "pt"})
    contents = {
        "config.json": model_config(row, names if classes else (), res),
        "preprocessor_config.json": preprocessor_config(colours, res),
    }
    for file, content in contents.items():
        (folder / file).write_text(json.dumps(content, indent=2), encoding="utf-8")


def with_biases(network: IGpt) -> dict[str, Tensor]:
    """Return the tensors of a network, with zeros for the biases that transformers has."""
    tensors = dict(network.state_dict())
    for layer in range(network.row.depth):
        for name in LAYERS:
            weight = tensors[f"blocks.{layer}.{name}.weight"]
            tensors.setdefault(f"blocks.{layer}.{name}.bias", torch.zeros(len(weight)))
    return tensors


def model_config(row: Row, names: Sequence[str], res: int) -> JsonObject:
    """Return transformers' ``config.json``."""
    config: JsonObject = {
        "architectures": ["ImageGPTForImageClassification" if names else "ImageGPTForCausalImageModeling"],
        "model_type": "imagegpt",
        "vocab_size": row.colours + 1,
        "n_positions": res**2,
        "n_embd": row.width,
        "n_layer": row.depth,
        "n_head": row.heads,
        "n_inner": row.mlp,
        "activation_function": ACTIVATIONS[row.gelu],
        "layer_norm_epsilon": row.epsilon,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "tie_word_embeddings": False,
        "dtype": "float32",
    }
    if names:
        config["id2label"] = {str(number): name for number, name in enumerate(names)}
        config["label2id"] = {name: number for number, name in enumerate(names)}
    return config


def preprocessor_config(colours: Tensor, res: int) -> JsonObject:
    """Return transformers' ``preprocessor_config.json`` with the colours [K, 3] in [-1, 1]."""
    return {
        "image_processor_type": "ImageGPTImageProcessor",
        "clusters": colours.tolist(),
        "do_color_quantize": True,
        "do_normalize": True,
        "do_resize": True,
        "resample": 2,
        "size": {"height": res, "width": res},
    }
