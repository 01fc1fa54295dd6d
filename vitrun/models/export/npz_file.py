"""``.npz`` that google-research/vision_transformer, big_vision and big_transfer read."""

import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from vitrun.errors import UserError
from vitrun.models.export.portable import export_tensors, with_learned_positions
from vitrun.models.formats import jax_bit, jax_vit
from vitrun.recipes import BiT, Timm, ViT

PUBLISHED_RENAMES = (  # the numbering and places of the published files, which every reader of them converts
    (r"^pos_embedding$", "Transformer/posembed_input/pos_embedding"),
    (r"^(Transformer/encoderblock_\d+)/MultiHeadDotProductAttention_0/", r"\1/MultiHeadDotProductAttention_1/"),
    (r"^(Transformer/encoderblock_\d+)/LayerNorm_1/", r"\1/LayerNorm_2/"),
    (r"^(Transformer/encoderblock_\d+)/MlpBlock_0/", r"\1/MlpBlock_3/"),
)


DUMP_RENAMES = (
    (r"^root_block/conv_root/", "root_block/standardized_conv2d/"),
    (r"^norm-pre-head/", "group_norm/"),
    (r"^head/", "head/conv2d/"),
    (r"/conv_proj/", "/a/proj/standardized_conv2d/"),
    *((rf"/conv{part}/", f"/{letter}/standardized_conv2d/") for part, letter in enumerate("abc", 1)),
    *((rf"/gn{part}/", f"/{letter}/group_norm/") for part, letter in enumerate("abc", 1)),
    (r"group_norm/scale$", "group_norm/gamma"),
    (r"group_norm/bias$", "group_norm/beta"),
)


def write_npz(path: Path, network: nn.Module, model: ViT | BiT | Timm, names: Sequence[str], res: int) -> None:
    """The tensors by the names and in the order of axes of the published checkpoints."""
    import numpy as np

    if isinstance(model, Timm):
        raise UserError(f"timm's {model.name} has no form in .npz. Export it with to=timm or to=onnx.")
    arrays = {name: array.float().cpu().numpy() for name, array in npz_tensors(network, model).items()}
    with path.open("wb") as file:
        np.savez(file, **arrays)


def npz_tensors(network: nn.Module, model: ViT | BiT) -> dict[str, Tensor]:
    """The tensors by their names in the file."""
    if isinstance(model, BiT):
        found = export_tensors(jax_bit.map_tensors(model), dict(network.state_dict()))
        return dump_tensors(found) if model.border == "zero" else found  # the two differ in what the stem's pool sees
    model, tensors = with_learned_positions(network, model, "npz")
    found = export_tensors(jax_vit.map_tensors(model), tensors)
    if model.head == "map":  # big_vision's alone, and by its names
        return found
    return {published_name(name): tensor for name, tensor in found.items()}


def published_name(name: str) -> str:
    """A ViT's tensor by its name in the files of 2020."""
    for new, old in PUBLISHED_RENAMES:
        name = re.sub(new, old, name)
    return name


def dump_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A BiT's tensors by the names and in the shapes of big_transfer's TensorFlow dumps."""
    found = {}
    for name, tensor in tensors.items():
        for new, old in DUMP_RENAMES:
            name = re.sub(new, old, name)
        flat = tensor.flatten() if "group_norm" in name else tensor
        found[f"resnet/{name}"] = flat[None, None] if name == "head/conv2d/kernel" else flat
    return found
