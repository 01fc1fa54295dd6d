"""What a vision transformer looks at: its attention and its tokens as data."""

import torch
from torch import Tensor, nn

from vitrun.errors import UserError
from vitrun.models.attention import attention_weights
from vitrun.models.load_report import describe_model
from vitrun.models.vit import ViT


@torch.no_grad()
def attention_and_tokens(network: nn.Module, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Each layer's attention [B, H, N, N], rows summing to 1, and the tokens [B, N, D] that it gives, for [B, 3, R, R].

    Computed beside the forward pass and so the same whether that uses fused attention or not; a UserError for a network
    that is no transformer of ours.
    """
    if not isinstance(network, ViT):
        raise UserError(
            f"{describe_model(network.row)} has no attention to show: only vision transformers of vitrun's own do."
        )
    attention, tokens = [], []
    x = network.embed(images)
    for layer, block in enumerate(network.blocks):
        x, offsets = network.add_layer_positions(layer, x), network.relative_table(layer)
        q, k, _ = block.attn.split(block.norm1(x))
        attention.append(attention_weights(q, k, offsets))
        x = block(x, offsets)
        tokens.append(x)
    return attention, tokens


@torch.no_grad()
def hidden_states(network: ViT, images: Tensor) -> list[Tensor]:
    """The embedded tokens of [B, 3, R, R], and what each layer makes of them: L + 1 of [B, N, D]."""
    found = [network.embed(images)]
    for layer in range(len(network.blocks)):
        found.append(network.run_layer(layer, found[-1]))
    return found
