"""``.npz`` files for google-research/vision_transformer, big_vision and big_transfer."""

from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from vitrun.models.export.portable import export_tensors, with_learned_positions
from vitrun.models.export.view import Description
from vitrun.models.formats import jax_bit, jax_vit
from vitrun.models.formats.mapping import rename
from vitrun.models.network import Network
from vitrun.models.resnet import BiT
from vitrun.models.vit import ViT
from vitrun.runtime.npz_mark import write_mark

PUBLISHED_RENAMES = (  # flax.linen names -> those of the published files, which every reader of them converts
    (r"^pos_embedding$", "Transformer/posembed_input/pos_embedding"),
    (r"^(Transformer/encoderblock_\d+)/MultiHeadDotProductAttention_0/", r"\1/MultiHeadDotProductAttention_1/"),
    (r"^(Transformer/encoderblock_\d+)/LayerNorm_1/", r"\1/LayerNorm_2/"),
    (r"^(Transformer/encoderblock_\d+)/MlpBlock_0/", r"\1/MlpBlock_3/"),
)
DUMP_RENAMES = (  # big_vision's names -> those of big_transfer's TensorFlow dumps
    (r"^root_block/conv_root/", "root_block/standardized_conv2d/"),
    (r"^norm-pre-head/", "group_norm/"),
    (r"^head/", "head/conv2d/"),
    (r"/conv_proj/", "/a/proj/standardized_conv2d/"),
    *((rf"/conv{part}/", f"/{letter}/standardized_conv2d/") for part, letter in enumerate("abc", 1)),
    *((rf"/gn{part}/", f"/{letter}/group_norm/") for part, letter in enumerate("abc", 1)),
    (r"group_norm/scale$", "group_norm/gamma"),
    (r"group_norm/bias$", "group_norm/beta"),
)


def write_npz(path: Path, network: Network, description: Description, res: int) -> None:
    """Write the tensors with the names and axes of the published files, and a mark of vitrun with the view."""
    import numpy as np

    arrays = {name: array.float().cpu().numpy() for name, array in npz_tensors(network).items()}
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub reads them as ``allow_pickle``
    write_mark(path, {"view": asdict(description.view)})


def npz_tensors(network: Network) -> dict[str, Tensor]:
    """Return the tensors by their names in the file."""
    if isinstance(network, BiT):
        exported = export_tensors(jax_bit.map_tensors(network.row), dict(network.state_dict()))
        return dump_tensors(exported) if network.row.border == "zero" else exported  # each layout implies a border
    assert isinstance(network, ViT)
    model, tensors = with_learned_positions(network)
    exported = export_tensors(jax_vit.map_tensors(model), tensors)
    if model.head == "map":  # only big_vision has it, with its own names
        return exported
    return {rename(name, PUBLISHED_RENAMES): tensor for name, tensor in exported.items()}


def dump_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a BiT's tensors with the names and shapes of big_transfer's TensorFlow dumps."""
    dumped = {}
    for name, tensor in tensors.items():
        name = rename(name, DUMP_RENAMES)
        flat = tensor.flatten() if "group_norm" in name else tensor
        dumped[f"resnet/{name}"] = flat[None, None] if name == "head/conv2d/kernel" else flat
    return dumped
