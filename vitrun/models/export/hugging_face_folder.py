"""Folders for ``from_pretrained`` of transformers: of ViTForImageClassification, CLIPModel and others."""

import json
from collections.abc import Sequence
from pathlib import Path

from vitrun.models.checkpoint_file import save_tensors
from vitrun.models.clip import Clip
from vitrun.models.detector import Detector
from vitrun.models.export.clip_folders import write_hugging_face_clip
from vitrun.models.export.hugging_face_detectors import write_hugging_face_detector
from vitrun.models.export.hugging_face_igpt import write_hugging_face_igpt
from vitrun.models.export.portable import export_tensors, with_learned_positions
from vitrun.models.export.view import Description, processor_view
from vitrun.models.formats import hugging_face
from vitrun.models.formats.hugging_face_config import ACTIVATIONS
from vitrun.models.igpt import IGpt
from vitrun.models.network import Network
from vitrun.models.tensor_files import JsonObject
from vitrun.models.vit import ViT
from vitrun.recipes import View
from vitrun.recipes import ViT as Row


def write_hugging_face(folder: Path, network: Network, description: Description, res: int) -> None:
    """Write ``config.json``, ``preprocessor_config.json`` and ``model.safetensors``."""
    if isinstance(network, Clip):
        return write_hugging_face_clip(folder, network, description, res)
    if isinstance(network, Detector):
        return write_hugging_face_detector(folder, network, description, res)
    if isinstance(network, IGpt):
        write_hugging_face_igpt(folder, network, description.names, res)
        return
    assert isinstance(network, ViT)
    model, tensors = with_learned_positions(network)
    exported = export_tensors(hugging_face.map_tensors(model), tensors)
    prefixed = {name if name.startswith("classifier.") else f"vit.{name}": tensor for name, tensor in exported.items()}
    save_tensors(folder / "model.safetensors", prefixed, {"format": "pt"})
    for file, content in (
        ("config.json", model_config(model, description.names, res)),
        ("preprocessor_config.json", preprocessor_config(description.view, res)),
    ):
        (folder / file).write_text(json.dumps(content, indent=2), encoding="utf-8")


def model_config(model: Row, names: Sequence[str], res: int) -> JsonObject:
    """Return transformers' ``config.json``, with the network's epsilon and GELU."""
    return {
        "architectures": ["ViTForImageClassification"],
        "model_type": "vit",
        "image_size": res,
        "patch_size": model.patch,
        "num_channels": 3,
        "hidden_size": model.width,
        "num_hidden_layers": model.depth,
        "num_attention_heads": model.heads,
        "intermediate_size": model.mlp,
        "hidden_act": ACTIVATIONS[model.gelu],
        "layer_norm_eps": model.epsilon,
        "qkv_bias": True,
        "hidden_dropout_prob": model.dropout,
        "attention_probs_dropout_prob": 0.0,
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
        "dtype": "float32",
    }


def preprocessor_config(view: View, res: int) -> JsonObject:
    """Return transformers' ``preprocessor_config.json``: images as in ``view``, ``res`` by ``res`` and in [-1, 1]."""
    return {
        **processor_view(view, res),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
