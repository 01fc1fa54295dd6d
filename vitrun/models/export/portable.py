"""What a network comes to in a library that knows one learned position table at the stem."""

from dataclasses import replace

from torch import Tensor, nn

from vitrun.errors import UserError
from vitrun.models.formats.mapping import TensorMapping
from vitrun.recipes import ViT


def with_learned_positions(network: nn.Module, model: ViT, to: str) -> tuple[ViT, dict[str, Tensor]]:
    """The row and tensors of the same network with a learned table; a UserError where its positions are no such table."""
    tensors = dict(network.state_dict())
    if model.positions == "relative" or (model.positions_at != "stem" and model.positions != "none"):
        kind = f"model.positions={model.positions} at {model.positions_at}"
        raise UserError(f"{to} has no network with {kind}. Export it with to=onnx, which keeps every network.")
    table = network.positions()
    for name in [name for name in tensors if name.startswith("pos_embed")]:
        del tensors[name]
    rows = network.prefix + network.side**2
    tensors["pos_embed"] = tensors["norm.weight"].new_zeros(1, rows, model.width) if table is None else table.detach()
    return replace(model, positions="learned", positions_at="stem"), tensors


def require_no_pre_logits(model: ViT, to: str) -> None:
    """A UserError for a network with the layer that the library lacks (``spec`` of timm and transformers)."""
    if model.pre_logits:
        raise UserError(
            f"{to} has no pre-logits layer before its head. Export with to=npz or to=onnx, or fine-tune first."
        )


def export_tensors(entries: list[TensorMapping], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by the other library's names and in its shapes."""
    found = {}
    for entry in entries:
        for name, tensor in zip(entry.theirs, entry.invert(tensors[entry.ours]), strict=True):
            if tensor.numel():  # a head of no classes is left out
                found[name] = tensor.contiguous().clone()  # parts of one tensor must not share memory in a file
    return found
