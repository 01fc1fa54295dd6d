"""How several ranks share the network of a run (``mode``): a copy each, or a part each."""

import platform
from collections import Counter
from collections.abc import Sequence

from torch import nn

from vitrun import models
from vitrun.errors import UserError
from vitrun.recipes import Training
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine
from vitrun.runtime.fsdp import ShardedNetwork
from vitrun.runtime.replicas import Replica


def share_network(recipe: Training, network: nn.Module, machine: Machine) -> Replica | ShardedNetwork | None:
    """Return how torch shares a network over ranks; None for one rank, and for ranks of several workers each.

    These workers have gradients each, which are summed before those of the ranks. Raise UserError if the ranks cannot
    share it as the recipe says.
    """
    ranks = distributed.world_size()
    if ranks == 1:
        return None
    if recipe.mode == "ddp":
        return Replica(network, machine.device) if machine.workers_for(network) == 1 else None
    if recipe.batch % ranks:
        why = f"is not a multiple of the {ranks} ranks, which need equally many images with mode=fsdp."
        raise UserError(why, option="batch", value=str(recipe.batch))
    size = choose_shard_ranks(recipe.shard_ranks, distributed.all_gather_object(platform.node()))
    return ShardedNetwork(network, models.list_blocks(network), machine.device, machine.dtype, size)


def describe_mode(parallel: Replica | ShardedNetwork | None) -> str:
    """Return what the manifest of a checkpoint records of how ranks share a network: ``fsdp`` with the ranks a copy."""
    return f"fsdp over {parallel.size}" if isinstance(parallel, ShardedNetwork) else "ddp"


def describe_parts(parallel: Replica | ShardedNetwork | None) -> str:
    """Return the line of the log about ``mode=fsdp``."""
    if not isinstance(parallel, ShardedNetwork):
        return "fsdp: one rank has all weights, nothing is divided"
    copies = distributed.world_size() // parallel.size
    many = f", in {copies} copies" if copies > 1 else ""
    return f"fsdp: weights, gradients and optimizer are divided over {parallel.size} ranks{many}"


def choose_shard_ranks(option: int | str | None, hosts: Sequence[str]) -> int:
    """Return how many ranks share one copy of the weights, for ranks on ``hosts``; raise UserError if they cannot."""
    ranks = len(hosts)
    if option is None:
        return ranks
    if isinstance(option, int):
        if ranks % option:
            why = f"must divide the number of ranks, {ranks}; node means those of a node, null all."
            raise UserError(why, option="shard_ranks", value=str(option))
        return option
    size = hosts.count(hosts[0])
    groups = [hosts[first : first + size] for first in range(0, ranks, size)]
    if len(set(Counter(hosts).values())) > 1 or any(len(set(group)) > 1 for group in groups):
        why = "needs equally many ranks on every node, numbered node by node (srun --distribution=block)."
        raise UserError(why, option="shard_ranks", value=option)
    return size
