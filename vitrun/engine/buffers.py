"""Buffers of a network, such as the statistics of batch norm, which a forward pass changes."""

from torch import Tensor, nn

Buffers = list[tuple[Tensor, Tensor]]  # each buffer of a network, and a copy of its values


def copy_buffers(network: nn.Module) -> Buffers:
    """Return each buffer of a network with a copy of its values."""
    return [(buffer, buffer.clone()) for buffer in network.buffers()]


def restore_buffers(buffers: Buffers) -> None:
    """Set each buffer to the values of its copy."""
    for buffer, values in buffers:
        buffer.copy_(values)
