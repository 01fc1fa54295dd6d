"""Activation checkpointing: blocks whose activations are computed again in the backward pass instead of stored."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vitrun.errors import UserError
from vitrun.models.attention import Block
from vitrun.models.network import Network
from vitrun.models.resnet import PostActBottleneck, PreActBottleneck
from vitrun.models.timm_wrapper import TimmNetwork

BLOCKS = (Block, PostActBottleneck, PreActBottleneck)


def checkpoint_blocks(network: Network) -> None:
    """Let each block of a network store its input alone in training, for the same gradients to the last bit.

    Raise a UserError about a network that cannot do so.
    """
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        why = f"counts each image twice in the batch norm of {network.row.name}: leave it out."
        raise UserError(why, option="checkpointing", value="blocks")
    blocks = list_blocks(network)
    if not blocks:
        why = f"finds no blocks in {network.row.name}: leave it out."
        raise UserError(why, option="checkpointing", value="blocks")
    for block in blocks:
        block.forward = partial(run_checkpointed, block, block.forward, draws_numbers(block))


def list_blocks(network: nn.Module) -> list[nn.Module]:
    """Return the blocks of a ViT, the units of a ResNet, or what networks of timm have in a module ``blocks``."""
    if not isinstance(network, TimmNetwork):
        return [module for module in network.modules() if isinstance(module, BLOCKS)]
    named = network.body.named_modules()
    return [block for name, module in named if name.split(".")[-1] == "blocks" for block in module.children()]


def run_checkpointed(
    block: nn.Module, forward: Callable[..., Tensor], draws: bool, *arguments: Any, **options: Any
) -> Tensor:
    """Return ``forward(*arguments)``; in training its activations are not stored.

    Args:
        draws: Whether random numbers are drawn, which are then the same ones when the block is computed again.
    """
    if not (block.training and torch.is_grad_enabled()):
        return forward(*arguments, **options)
    # The generator of a CPU is shared by threads: nothing is restored where several may compute.
    return checkpoint(forward, *arguments, use_reentrant=False, preserve_rng_state=draws, **options)


def draws_numbers(block: nn.Module) -> bool:
    """Return whether a block has dropout or stochastic depth, ours or timm's."""
    return any(
        isinstance(module, nn.modules.dropout._DropoutNd)
        and module.p > 0
        or getattr(module, "skip", 0)
        or getattr(module, "drop_prob", 0)
        for module in block.modules()
    )
