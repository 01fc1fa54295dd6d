"""Attention of each layer of a vision transformer, as it weighs the values, and where its tokens lie on the image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from vitrun.errors import ExitCode, UserError
from vitrun.models import timm_attention
from vitrun.models.attention import Block, attention_weights
from vitrun.models.igpt import IGpt
from vitrun.models.network import Network
from vitrun.models.timm_wrapper import TimmNetwork
from vitrun.models.vit import ViT

Receive = Callable[[int, Tensor], None]  # called with the index of a layer and its attention [B, H, N, N]


class NoGlobalAttention(UserError):
    """A network with attention whose layers do not each attend from all tokens to all."""


@dataclass(frozen=True)
class AttentionLayout:
    """Tokens of a network whose layers attend from all to all: P prefix tokens, then ``side`` by ``side`` patches."""

    layers: int
    heads: int
    prefix: int  # class token, distillation token and registers
    side: int
    class_tokens: int  # the first of the prefix, which the head reads; 0 if it reads all patches

    @property
    def tokens(self) -> int:
        """Return N, the number of tokens."""
        return self.prefix + self.side**2

    @property
    def reading(self) -> Tensor:
        """Return the weight with which the head reads each token, [N], unless it has attention of its own."""
        weights = torch.zeros(self.tokens)
        chosen = slice(self.class_tokens) if self.class_tokens else slice(self.prefix, None)
        weights[chosen] = 1 / len(weights[chosen])
        return weights


def find_layout(network: Network, res: int) -> AttentionLayout:
    """Return where the patches of images of side ``res`` are among the tokens.

    Raise a UserError if the network has no attention, and NoGlobalAttention if its layers attend within windows or
    between different tokens.
    """
    if isinstance(network, ViT):
        row = network.row
        return AttentionLayout(row.depth, row.heads, network.prefix, network.side, network.prefix)
    if isinstance(network, IGpt):
        why = f"the layers of {network.row.name} attend to earlier pixels, so that no map of theirs covers the image"
        raise NoGlobalAttention(why)
    if not isinstance(network, TimmNetwork):
        name = network.row.name
        why = f"{name} has no attention between patches: it is a ResNet. Choose a vision transformer or a hybrid."
        raise UserError(why, ExitCode.CHECKPOINT, "init")
    return find_timm_layout(network, res)


def find_timm_layout(network: TimmNetwork, res: int) -> AttentionLayout:
    """Return the layout of a network of timm, by the attention that it computes for one image."""
    image = torch.zeros(1, 3, res, res, device=network.scale.device)
    shapes: list[torch.Size] = []
    timm_attention.record_attention(network, image, lambda weights: shapes.append(weights.shape))
    name, body = network.row.name, network.body
    if not shapes:
        why = f"{name} of timm has no attention that can be read: choose a vision transformer or a hybrid."
        raise UserError(why, ExitCode.CHECKPOINT, "init")
    if any(shape[0] > 1 for shape in shapes):
        raise NoGlobalAttention(f"{name} attends within windows, so that no map of its attention covers the image")
    layers = shapes[:-1] if shapes[-1][-2] == 1 else shapes
    prefix, depth = getattr(body, "num_prefix_tokens", 0), len(getattr(body, "blocks", ()))
    side = round(max(0, layers[0][-1] - prefix) ** 0.5) if layers else 0
    square = (1, layers[0][1], prefix + side**2, prefix + side**2) if layers else ()  # attention of a layer
    if len(layers) != depth or any(tuple(shape) != square for shape in layers):
        raise NoGlobalAttention(f"the layers of {name} do not each attend once from all patches to all")
    pooled = len(layers) < len(shapes) or getattr(body, "global_pool", "token") != "token"
    tokens = 0 if pooled else 2 if hasattr(body, "dist_token") else min(1, prefix)
    return AttentionLayout(depth, layers[0][1], prefix, side, tokens)


@torch.no_grad()
def visit_attention(network: Network, layout: AttentionLayout, images: Tensor, receive: Receive) -> Tensor | None:
    """Call ``receive`` with each layer's attention, float32 [B, H, N, N] with rows that sum to 1, in their order.

    ``images`` are [B, 3, R, R]. Return the attention with which a MAP head reads the tokens, [B, H, N]; None for other
    heads. The attention of one layer is in memory at a time.
    """
    if isinstance(network, TimmNetwork):
        return visit_timm_attention(network, layout, images, receive)
    vit = cast(ViT, network)
    x = vit.embed(images)
    for layer, block in enumerate(cast(list[Block], vit.blocks)):
        x, offsets = vit.add_layer_positions(layer, x), vit.relative_table(layer)
        q, k, _ = block.attn.split(block.norm1(x))
        with torch.autocast(images.device.type, enabled=False):  # the softmax of fused attention is in float32 too
            receive(layer, attention_weights(q.float(), k.float(), offsets))
        x = block(x, offsets)
    return vit.attn_pool.attend(vit.norm(x))[0][:, :, 0] if vit.row.head == "map" else None


def visit_timm_attention(
    network: TimmNetwork, layout: AttentionLayout, images: Tensor, receive: Receive
) -> Tensor | None:
    """Return :func:`visit_attention` of a network of timm."""
    layer, pooled = 0, None

    def count(weights: Tensor) -> None:
        nonlocal layer, pooled
        if layer < layout.layers:
            receive(layer, weights)
        else:  # of a MAP head, which may leave out the prefix
            pooled = functional.pad(weights[:, :, 0], (layout.tokens - weights.shape[3], 0))
        layer += 1

    timm_attention.record_attention(network, images, count)
    return pooled


@torch.no_grad()
def hidden_states(network: ViT | IGpt, images: Tensor) -> list[Tensor]:
    """Return the embedded tokens of ``images`` [B, 3, R, R] and the output of each layer: L + 1 of [B, N, D]."""
    states = [network.embed(images)]
    for layer in range(len(network.blocks)):
        states.append(network.run_layer(layer, states[-1]))
    return states


def normalize_tokens(network: ViT | IGpt, x: Tensor) -> Tensor:
    """Return tokens [B, N, D] in float32, normed as the network's layers do, without their scale and shift."""
    norm = functional.rms_norm if isinstance(network, IGpt) else functional.layer_norm
    return norm(x.float(), x.shape[-1:])
