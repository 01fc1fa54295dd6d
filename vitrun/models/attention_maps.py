"""Attention maps and tokens of each layer of a vision transformer."""

from typing import cast

import torch
from torch import Tensor

from vitrun.errors import UserError
from vitrun.models.attention import Block, attention_weights
from vitrun.models.load_report import describe_model
from vitrun.models.network import Network
from vitrun.models.vit import ViT


@torch.no_grad()
def attention_and_tokens(network: Network, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return each layer's attention [B, H, N, N], rows summing to 1, and its output tokens [B, N, D].

    ``images`` are [B, 3, R, R]. The maps are computed separately from the forward pass, so that they do not
    depend on fused attention. Raise a UserError if the network is not a vision transformer of vitrun.
    """
    if not isinstance(network, ViT):
        raise UserError(
            f"{describe_model(network.row)} has no attention maps: only vitrun's own vision transformers have them."
        )
    attention, tokens = [], []
    x = network.embed(images)
    for layer, block in enumerate(cast(list[Block], network.blocks)):
        x, offsets = network.add_layer_positions(layer, x), network.relative_table(layer)
        q, k, _ = block.attn.split(block.norm1(x))
        attention.append(attention_weights(q, k, offsets))
        x = block(x, offsets)
        tokens.append(x)
    return attention, tokens


@torch.no_grad()
def hidden_states(network: ViT, images: Tensor) -> list[Tensor]:
    """Return the embedded tokens of ``images`` [B, 3, R, R] and the output of each layer: L + 1 of [B, N, D]."""
    states = [network.embed(images)]
    for layer in range(len(network.blocks)):
        states.append(network.run_layer(layer, states[-1]))
    return states
