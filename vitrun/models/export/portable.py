"""Convert networks for libraries that have one learned position table at the stem."""

from dataclasses import replace

from torch import Tensor

from vitrun.models.formats.mapping import TensorMapping
from vitrun.models.vit import ViT as ViTNetwork
from vitrun.recipes import ViT


def with_learned_positions(network: ViTNetwork) -> tuple[ViT, dict[str, Tensor]]:
    """Return row and tensors of the same network with a learned position table."""
    model, tensors = network.row, dict(network.state_dict())
    table = network.positions()
    for name in [name for name in tensors if name.startswith("pos_embed")]:
        del tensors[name]
    rows = network.prefix + network.side**2
    tensors["pos_embed"] = tensors["norm.weight"].new_zeros(1, rows, model.width) if table is None else table.detach()
    return replace(model, positions="learned", positions_at="stem"), tensors


def export_tensors(mappings: list[TensorMapping], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by the other library's names and in its shapes."""
    exported = {}
    for mapping in mappings:
        for name, tensor in zip(mapping.theirs, mapping.invert(tensors[mapping.ours]), strict=True):
            if tensor.numel():  # a head of no classes is left out
                exported[name] = tensor.contiguous().clone()  # parts of one tensor must not share memory in a file
    return exported
