"""What ``config.json`` and ``preprocessor_config.json`` of transformers say of a ViT: believed, or refused by name."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from vitrun.models.formats.mapping import check_normalization
from vitrun.models.tensor_files import JsonObject, weights_error
from vitrun.recipes import ViT

Gelu = Literal["tanh", "exact", "quick"]
GELUS: dict[str, Gelu] = {  # of ``hidden_act``
    "gelu": "exact",
    "gelu_python": "exact",
    "gelu_new": "tanh",
    "gelu_pytorch_tanh": "tanh",
    "gelu_python_tanh": "tanh",
    "gelu_accurate": "tanh",
    "gelu_fast": "tanh",
    "quick_gelu": "quick",
}
ACTIVATIONS = {"tanh": "gelu_pytorch_tanh", "exact": "gelu", "quick": "quick_gelu"}  # ``hidden_act`` of each GELU
SUPPORTED = (
    "of transformers vitrun reads ViTForImageClassification, ViTModel, TimmWrapperForImageClassification, CLIPModel, "
    "CLIPVisionModel, ImageGPTForCausalImageModeling, ImageGPTForImageClassification, YolosForObjectDetection and "
    "DetrForObjectDetection"
)
REFUSED_KEYS = ("auto_map", "quantization_config", "pruned_heads")  # change what the same tensors compute


def config_gelu(config: JsonObject) -> Gelu:
    """Return the form of GELU. Raise a ValueError for any other activation."""
    name = config.get("hidden_act", "gelu")
    if name not in GELUS:
        raise ValueError(f"config.json has hidden_act={name!r}; vitrun's ViTs have {', '.join(GELUS)}")
    return GELUS[name]


def check_model_type(config: JsonObject, path: Path) -> None:
    """Raise a UserError that names the model of a folder of transformers that is not a ViT."""
    kind = config.get("model_type")
    if kind not in (None, "vit", "timm_wrapper"):
        classes = "/".join(config.get("architectures") or []) or "a network"
        raise weights_error(path, f"this is {classes} of model_type={kind}; {SUPPORTED}.")


def check_config(config: JsonObject, model: ViT, table_rows: int) -> None:
    """Raise a ValueError if the config says something else than the tensors, or that vitrun's networks lack."""
    sizes = {
        "hidden_size": model.width,
        "num_hidden_layers": model.depth,
        "intermediate_size": model.mlp,
        "num_channels": 3,
    }
    for key, value in sizes.items():
        if config.get(key, value) != value:
            raise ValueError(f"config.json has {key}={config[key]}, but its tensors have {value}")
    check_refused_keys(config)
    if model.pre_logits and config.get("pooler_act", "tanh") != "tanh":
        raise ValueError(f"config.json has pooler_act={config['pooler_act']!r}; vitrun's pre-logits layer has tanh")
    height, width = as_pair(config.get("patch_size", model.patch))
    if (height, width) != (model.patch, model.patch):
        raise ValueError(f"config.json has patches of {height}x{width} pixels; its tensors have {model.patch}")
    if "image_size" in config:
        check_image_size(*as_pair(config["image_size"]), model.patch, table_rows)


def check_refused_keys(config: JsonObject) -> None:
    """Raise a ValueError if the config has a key of :data:`REFUSED_KEYS`."""
    for key in REFUSED_KEYS:
        if config.get(key):
            raise ValueError(f"config.json has {key}, which vitrun does not support")


def check_image_size(height: int, width: int, patch: int, table_rows: int) -> None:
    """Raise a ValueError if images are not square, or do not have as many patches as the position table."""
    if height != width:
        raise ValueError(f"config.json has images of {height}x{width} pixels; vitrun's are square")
    if (height // patch) ** 2 + 1 != table_rows:
        raise ValueError(f"config.json has image_size={height}, but the position table {table_rows} rows")


def as_pair(size: Any) -> tuple[int, int]:
    """Return height and width of a size, which is a number or a pair."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return int(height), int(width)


def class_names(config: JsonObject, classes: int | None) -> tuple[str, ...]:
    """Return the names in the order of the head; none if they are transformers' own. Raise a ValueError for gaps."""
    labels = {int(number): str(name) for number, name in (config.get("id2label") or {}).items()}
    if not classes or all(re.fullmatch(r"LABEL_\d+", name) for name in labels.values()):
        return ()
    if sorted(labels) != list(range(classes)):
        raise ValueError(f"config.json names {len(labels)} classes in id2label, but the head has {classes}")
    return tuple(labels[number] for number in range(classes))


def config_normalization(preprocessor: JsonObject) -> tuple[list[float], list[float]] | None:
    """Return mean and std of the training images in [0, 1]; None for 0.5, which is images in [-1, 1]."""
    means, stds = ([float(v) for v in as_triple(preprocessor.get(key, 0.5))] for key in ("image_mean", "image_std"))
    if not preprocessor.get("do_normalize", True):
        means, stds = [0.0] * 3, [1.0] * 3
    scale = 255 * preprocessor.get("rescale_factor", 1 / 255) if preprocessor.get("do_rescale", True) else 255
    if not abs(scale - 1) <= 1e-6:  # the network gets (scale * image - mean) / std of the image in [0, 1]
        means, stds = [mean / scale for mean in means], [std / scale for std in stds]
    return check_normalization(means, stds)


def as_triple(values: Any) -> Iterator[float]:
    """Return a value for each of three channels."""
    return iter([values] * 3 if isinstance(values, int | float) else values)
