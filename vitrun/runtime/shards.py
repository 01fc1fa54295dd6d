"""Tensors of which each rank has a part, as FSDP divides weights (``DTensor``); any other tensor is its own part."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def gather(tensor: "Tensor") -> "Tensor":
    """Return the whole tensor, on every rank."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def local_part(tensor: "Tensor") -> "Tensor":
    """Return this rank's part of a tensor, which shares its memory."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def take_part(tensor: "Tensor", like: "Tensor") -> "Tensor":
    """Return this rank's part of a whole tensor that would be divided as ``like`` is; nothing is sent."""
    if not is_sharded(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]
    return distribute_tensor(tensor, mesh, placements, src_data_rank=None).to_local()


def is_sharded(tensor: "Tensor") -> bool:
    """Return whether ranks have parts of a tensor."""
    return hasattr(tensor, "full_tensor")
