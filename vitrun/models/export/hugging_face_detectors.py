"""Folders for ``YolosForObjectDetection`` and ``DetrForObjectDetection`` of transformers."""

import json
from pathlib import Path
from typing import cast

from torch import Tensor

from vitrun.models.checkpoint_file import save_tensors
from vitrun.models.detector import Detector
from vitrun.models.export.portable import export_tensors
from vitrun.models.export.view import Description, image_statistics
from vitrun.models.formats import hugging_face_detr, hugging_face_yolos
from vitrun.models.formats.hugging_face_config import ACTIVATIONS
from vitrun.models.formats.mapping import TensorMapping, map_same
from vitrun.models.tensor_files import JsonObject
from vitrun.models.timm_wrapper import TimmNetwork
from vitrun.recipes import Detector as Row
from vitrun.recipes import Timm, View, ViT
from vitrun.recipes.view import LONGEST

HEADS = ("class_labels_classifier.", "bbox_predictor.")  # tensors outside of ``vit.``


def write_hugging_face_detector(folder: Path, network: Detector, description: Description, res: int) -> None:
    """Write ``config.json``, ``preprocessor_config.json`` and ``model.safetensors``."""
    row, tensors, names = network.row, dict(network.state_dict()), description.names
    if isinstance(network.body, TimmNetwork):
        kind, config = "Detr", detr_config(row)
        exported = export_tensors([*hugging_face_detr.map_detector(row), *map_body(tensors)], tensors)
    else:
        kind, config = "Yolos", yolos_config(row)
        exported = export_tensors(hugging_face_yolos.map_tensors(row), tensors)
        exported = {name if name.startswith(HEADS) else f"vit.{name}": tensor for name, tensor in exported.items()}
    save_tensors(folder / "model.safetensors", exported, {"format": "pt"})
    of_classes = {
        "architectures": [f"{kind}ForObjectDetection"],
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
        "dtype": "float32",
    }
    processor = preprocessor_config(network, kind, description.view, res)
    contents = {"config.json": config | of_classes, "preprocessor_config.json": processor}
    for file, content in contents.items():
        (folder / file).write_text(json.dumps(content, indent=2), encoding="utf-8")


def map_body(tensors: dict[str, Tensor]) -> list[TensorMapping]:
    """Return the mapping of each tensor of a ResNet of timm, which transformers names as timm does."""
    start = "body.body."
    return [map_same(name, hugging_face_detr.BACKBONE + name.removeprefix(start)) for name in tensors if start in name]


def yolos_config(row: Row) -> JsonObject:
    """Return the keys of ``YolosConfig``."""
    body, (rows, columns) = cast(ViT, row.body), row.grid
    return {
        "model_type": hugging_face_yolos.MODEL_TYPE,
        "image_size": [rows * body.patch, columns * body.patch],
        "patch_size": body.patch,
        "num_channels": 3,
        "hidden_size": body.width,
        "num_hidden_layers": body.depth,
        "num_attention_heads": body.heads,
        "intermediate_size": body.mlp,
        "hidden_act": ACTIVATIONS[body.gelu],
        "layer_norm_eps": body.epsilon,
        "qkv_bias": True,
        "num_detection_tokens": row.tokens,
        "use_mid_position_embeddings": row.mid,
        "hidden_dropout_prob": body.dropout,
        "attention_probs_dropout_prob": 0.0,
    }


def detr_config(row: Row) -> JsonObject:
    """Return the keys of ``DetrConfig``; the ResNet is timm's."""
    body = cast(Timm, row.body)
    return {
        "model_type": hugging_face_detr.MODEL_TYPE,
        "use_timm_backbone": True,
        "use_pretrained_backbone": False,
        "backbone": body.name.partition(".")[0],
        "backbone_config": None,
        "dilation": body.options.get("output_stride") == 16,
        "num_channels": 3,
        "num_queries": row.tokens,
        "d_model": row.width,
        "encoder_layers": row.encoder,
        "decoder_layers": row.decoder,
        "encoder_attention_heads": row.heads,
        "decoder_attention_heads": row.heads,
        "encoder_ffn_dim": row.mlp,
        "decoder_ffn_dim": row.mlp,
        "dropout": row.dropout,
        "attention_dropout": row.dropout,
        "activation_dropout": row.dropout,
        "activation_function": "relu",
        "position_embedding_type": "sine",
    }


def preprocessor_config(network: Detector, kind: str, view: View, res: int) -> JsonObject:
    """Return ``preprocessor_config.json``: whole images, normalised as the network's training images.

    They are squares of side ``res`` if the ``view`` of test images is square, else ``res`` is the shorter side.
    """
    is_square = view.resize in ("square", "squash")
    size = {"height": res, "width": res} if is_square else {"shortest_edge": res, "longest_edge": round(res * LONGEST)}
    body = network.body if isinstance(network.body, TimmNetwork) else network
    mean, std = image_statistics(body)
    return {
        "image_processor_type": f"{kind}ImageProcessor",
        "format": "coco_detection",
        "do_resize": True,
        "size": size,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": mean,
        "image_std": std,
        "do_pad": True,
    }
