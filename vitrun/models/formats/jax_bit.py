"""BiT as big_transfer's TensorFlow dumps and as big_vision write it."""

import re

from torch import Tensor

from vitrun.models.formats.identify import name_model
from vitrun.models.formats.jax_resnet import count_units, map_norm
from vitrun.models.formats.mapping import IdentifiedWeights, TensorMapping, map_kernel, map_same
from vitrun.models.tensor_files import Weights
from vitrun.recipes import BiT

TENSORFLOW_RENAMES = (  # names of the dumps, as big_vision has them (models/bit_paper.py)
    (r"/standardized_conv2d(_\d+)?/", "/"),
    (r"^resnet/root_block/kernel$", "root_block/conv_root/kernel"),
    (r"^resnet/group_norm/", "norm-pre-head/"),
    (r"^resnet/head/conv2d/", "head/"),
    (r"^resnet/", ""),
    (r"/a/proj/kernel$", "/conv_proj/kernel"),
    *((rf"/{letter}/kernel$", f"/conv{part}/kernel") for part, letter in enumerate("abc", 1)),
    *((rf"/{letter}/group_norm/", f"/gn{part}/") for part, letter in enumerate("abc", 1)),
    (r"/gamma$", "/scale"),
    (r"/beta$", "/bias"),
)


def recognise(weights: Weights) -> IdentifiedWeights | None:
    """The BiT in the file, or None where its names are not of these layouts."""
    dumped = any(name.startswith("resnet/root_block/") for name in weights)
    prefix = next((prefix for prefix in ("params/", "") if f"{prefix}root_block/conv_root/kernel" in weights), None)
    if not dumped and prefix is None:
        return None
    weights, ignored = rename_tensors(weights, "" if dumped else prefix)
    shapes = weights.shapes
    model = name_model(
        BiT(
            kind="bit",
            name="",
            blocks=count_units(shapes),
            width_factor=shapes["root_block/conv_root/kernel"][-1] / 64,
            border="zero" if dumped else "none",
        )
    )
    classes = shapes["head/bias"][0] if "head/bias" in shapes else None
    return IdentifiedWeights(weights, model, None, classes, map_tensors(model), ignored)


def rename_tensors(weights: Weights, prefix: str) -> tuple[Weights, dict[str, list[str]]]:
    """The same tensors by big_vision's names, and the names of no use."""
    places, ignored = {}, {}
    for name in weights:
        if name.startswith("io/"):
            ignored.setdefault("inputs and outputs", []).append(name)
            continue
        short = name.removeprefix(prefix)
        for old, new in TENSORFLOW_RENAMES:
            short = re.sub(old, new, short)
        places[short] = name
    shapes = {short: weights.shapes[name] for short, name in places.items()}
    return Weights(weights.path, shapes, lambda short: weights[places[short]], weights.metadata), ignored


def map_tensors(model: BiT) -> list[TensorMapping]:
    """Where each tensor of the network is, by big_vision's names."""
    found = [map_kernel("stem.conv.weight", "root_block/conv_root/kernel")]
    for stage, blocks in enumerate(model.blocks):
        for unit in range(blocks):
            place, theirs = f"stages.{stage}.blocks.{unit}", f"block{stage + 1}/unit{unit + 1:02d}"
            for part in (1, 2, 3):
                found.append(map_kernel(f"{place}.conv{part}.weight", f"{theirs}/conv{part}/kernel"))
                found += map_norm(f"{place}.norm{part}", f"{theirs}/gn{part}", ones=3)
            if unit == 0:
                found.append(map_kernel(f"{place}.downsample.conv.weight", f"{theirs}/conv_proj/kernel"))
    return [*found, *map_norm("norm", "norm-pre-head", ones=3), map_head(), map_same("head.bias", "head/bias")]


def map_head() -> TensorMapping:
    """The head's weight [C, D] of a dense kernel [D, C], or of a 1x1 convolution's [1, 1, D, C]."""

    def take(kernel: Tensor) -> Tensor:
        return kernel.flatten(0, -2).T

    return TensorMapping("head.weight", ("head/kernel",), take, lambda weight: (weight.T,))
