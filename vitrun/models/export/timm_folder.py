"""Folders for ``timm.create_model("local-dir:FOLDER", pretrained=True)``."""

import json
from pathlib import Path

import torch
from torch import Tensor

from vitrun.models.checkpoint_file import save_tensors
from vitrun.models.export.portable import export_tensors, with_learned_positions
from vitrun.models.export.view import Description, image_statistics, timm_view
from vitrun.models.formats import timm_names
from vitrun.models.network import Network
from vitrun.models.resnet import BiT
from vitrun.models.tensor_files import JsonObject
from vitrun.models.timm_wrapper import TimmNetwork, create_timm_network, pretrained_config
from vitrun.models.vit import ViT

ConfigAndTensors = tuple[JsonObject, dict[str, Tensor]]  # config.json, and the tensors by timm's names
ACTIVATIONS = {"tanh": "gelu_tanh", "exact": "gelu", "quick": "quick_gelu"}
VITS = {
    "vit_ti16": "vit_tiny_patch16_224",
    "vit_s32": "vit_small_patch32_224",
    "vit_s16": "vit_small_patch16_224",
    "vit_s8": "vit_small_patch8_224",
    "vit_b32": "vit_base_patch32_224",
    "vit_b16": "vit_base_patch16_224",
    "vit_b8": "vit_base_patch8_224",
    "vit_l32": "vit_large_patch32_224",
    "vit_l16": "vit_large_patch16_224",
    "vit_h14": "vit_huge_patch14_224",
    "vit_giant14": "vit_giant_patch14_224",
    "vit_gigantic14": "vit_gigantic_patch14_224",
}
DEFAULT_VIT = "vit_base_patch16_224"  # for all others: every size is given as an option
HYBRIDS: dict[tuple[int, ...], str] = {  # units of each stage of the ResNet -> timm's name
    (): "vit_tiny_r_s16_p8_224",
    (2, 2, 2, 2): "vit_small_r26_s32_224",
    (3, 4, 9): "vit_base_r50_s16_224",
    (3, 4, 6, 3): "vit_large_r50_s32_224",
}
BITS: dict[tuple[tuple[int, ...], float], str] = {  # units of each stage and width factor -> timm's name
    ((3, 4, 6, 3), 1): "resnetv2_50x1_bit",
    ((3, 4, 6, 3), 3): "resnetv2_50x3_bit",
    ((3, 4, 23, 3), 1): "resnetv2_101x1_bit",
    ((3, 4, 23, 3), 3): "resnetv2_101x3_bit",
    ((3, 8, 36, 3), 2): "resnetv2_152x2_bit",
    ((3, 8, 36, 3), 4): "resnetv2_152x4_bit",
}


def write_timm(folder: Path, network: Network, description: Description, res: int) -> None:
    """Write ``config.json`` and ``model.safetensors``."""
    if isinstance(network, ViT):
        config, tensors = convert_vit(network, res)
    elif isinstance(network, BiT):
        config, tensors = convert_bit(network)
    else:
        assert isinstance(network, TimmNetwork)
        config, tensors = convert_timm_network(network, res)
    config["num_classes"] = config["pretrained_cfg"]["num_classes"] = len(description.names)
    config["pretrained_cfg"] |= timm_view(description, res)
    config["label_names"] = [*description.names]
    save_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def convert_vit(network: ViT, res: int) -> ConfigAndTensors:
    """Convert a ViT or hybrid; every size is given, so that no default of timm matters."""
    model = network.row
    options = {
        "img_size": res,
        "patch_size": model.patch,
        "embed_dim": model.width,
        "depth": model.depth,
        "num_heads": model.heads,
        "mlp_ratio": (model.mlp + 0.5) / model.width,  # timm rounds the product down
        "act_layer": ACTIVATIONS[model.gelu],
        "pre_norm": model.norm_pre,
        "class_token": model.head == "token",
        "global_pool": timm_names.POOLS[model.head],
        "fc_norm": False,  # the norm before pooling, as published
    }
    architecture = VITS.get(model.name, DEFAULT_VIT)
    if model.stem:
        architecture = HYBRIDS[model.resnet]
    model, tensors = with_learned_positions(network)
    first = "patch_embed.proj"
    if model.stem:
        first = f"{timm_names.TRUNK}.stem.conv" if model.resnet else f"{timm_names.TRUNK}.conv"
    config = timm_config(architecture, options, first, "head") | {timm_names.EPSILON_KEY: model.epsilon}
    return config, export_tensors(timm_names.map_vit_tensors(model, True), tensors)


def convert_bit(network: BiT) -> ConfigAndTensors:
    """Convert one of the six BiTs that timm has."""
    model = network.row
    tensors = export_tensors(timm_names.map_bit_tensors(model, True), dict(network.state_dict()))
    return timm_config(BITS[model.blocks, model.width_factor], {}, "stem.conv", "head.fc"), tensors


def convert_timm_network(network: TimmNetwork, res: int) -> ConfigAndTensors:
    """Convert timm's own network: put its classifier back, with the name and shape that timm has."""
    model = network.row
    pretrained = pretrained_config(model.name)
    with torch.device("meta"):
        classes = network.head.out_features
        expected = create_timm_network(model.name, res, num_classes=classes, **model.options).state_dict()
    tensors = {name.removeprefix("body."): t for name, t in network.state_dict().items() if name.startswith("body.")}
    for part in ("weight", "bias"):
        name = f"{pretrained.classifier}.{part}"
        tensors[name] = getattr(network.head, part).detach().view(expected[name].shape)
    options = model.options | ({"img_size": res} if pretrained.fixed_input_size else {})
    config = timm_config(model.name, options, pretrained.first_conv, pretrained.classifier)
    del config[timm_names.SCALED_KEY]
    config["pretrained_cfg"] |= dict(zip(("mean", "std"), image_statistics(network)))
    return config, {name: tensor.contiguous() for name, tensor in tensors.items()}


def timm_config(architecture: str, options: JsonObject, first: str, classifier: str) -> JsonObject:
    """Return timm's ``config.json`` for images in [-1, 1], without the view of test images."""
    return {
        "architecture": architecture,
        timm_names.SCALED_KEY: True,
        "model_args": options,
        "pretrained_cfg": {
            "fixed_input_size": "img_size" in options,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "pool_size": None,
            "first_conv": first,
            "classifier": classifier,
            "custom_load": False,
        },
    }
