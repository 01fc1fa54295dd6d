"""Networks whose weights, gradients and optimizer state are divided over the ranks, by torch's FSDP2 (``fully_shard``).

Each block of a network is gathered for its forward and its backward pass alone. Every rank must call the same passes in
the same order.
"""

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from vitrun.runtime import distributed, shards


class ShardedNetwork:
    """A network that is divided in place, each of its weights over ``size`` ranks (HSDP if there are more ranks).

    Args:
        blocks: Modules that are gathered one at a time, inner ones before those around them.
        dtype: In which a block is gathered on a GPU. Weights, gradients and their sums are float32. On a CPU blocks are
            gathered in float32: there torch has no layer norm of float32 tokens with weights of another type.
        size: A divisor of the number of ranks.
    """

    def __init__(
        self, network: nn.Module, blocks: Sequence[nn.Module], device: torch.device, dtype: torch.dtype, size: int
    ):
        self.network, self.size = network, size
        # no layer and no loss changes an output in place
        warnings.filterwarnings("ignore", r"FSDP2-wrapped module \(\w+\) returned a view tensor")
        self.whole = copy_structure(network)
        is_low = device.type != "cpu" and dtype != torch.float32
        policy = MixedPrecisionPolicy(dtype if is_low else None, torch.float32, cast_forward_inputs=False)
        with distributed.exchange():
            mesh = build_mesh(device, size)
            for block in blocks:
                fully_shard(block, mesh=mesh, mp_policy=policy)
            fully_shard(network, mesh=mesh)
        for module in network.modules():
            if isinstance(module, FSDPModule):  # sums, not means: losses are divided by the images of all ranks
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)

    def __call__(self, *inputs: Tensor) -> Any:
        """Return the outputs of the network for this rank's images."""
        return self.network(*inputs)

    @contextmanager
    def gathered(self, weights: Sequence[Tensor]) -> Iterator[nn.Module]:
        """Yield a copy of the network with whole ``weights``, in the order of its parameters, and its own buffers.

        They are gathered on every rank, and a rank uses the copy without the others.
        """
        names = [name for name, _ in self.whole.named_parameters()]
        with distributed.exchange():
            tensors = {name: shards.gather(weight.detach()) for name, weight in zip(names, weights, strict=True)}
        for name, buffer in self.network.named_buffers():
            module, _, key = name.rpartition(".")
            setattr(self.whole.get_submodule(module), key, buffer)
        self.whole.load_state_dict(tensors, strict=False, assign=True)
        try:
            yield self.whole
        finally:
            empty = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
            self.whole.load_state_dict(empty, strict=False, assign=True)


def copy_structure(network: nn.Module) -> nn.Module:
    """Return a copy of a network whose parameters have shapes, but no memory."""
    memo: dict[int, Any] = {}
    for parameter in network.parameters():
        empty = torch.empty_like(parameter, device="meta")
        memo[id(parameter)] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
    return copy.deepcopy(network, memo)


def build_mesh(device: torch.device, size: int) -> DeviceMesh:
    """Return the ranks in a row, or as [copies, ``size``] if there are several copies of the weights."""
    copies = distributed.world_size() // size
    if copies == 1:
        return init_device_mesh(device.type, (size,), mesh_dim_names=("shard",))
    return init_device_mesh(device.type, (copies, size), mesh_dim_names=("replicate", "shard"))


def find_total_norm(gradients: Sequence[Tensor]) -> Tensor:
    """Return the norm of all gradients together, on every rank."""
    if not any(shards.is_sharded(gradient) for gradient in gradients):
        return nn.utils.get_total_norm(gradients)
    with distributed.exchange():
        norm = shards.gather(nn.utils.get_total_norm(gradients))
        distributed.wait_for_device(norm)
    return norm
