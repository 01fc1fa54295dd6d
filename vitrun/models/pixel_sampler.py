"""Sampling of an ImageGPT's pixels one by one, with a cache of the keys and values of the pixels before.

A step computes one token, so most of its time is the overhead of calling functions: the blocks are written out here in
as few calls as possible.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun.models.pixel_blocks import PixelBlock


class BlockWeights(NamedTuple):
    """Weights and biases of a block's four layers, with the weights of norms merged into the layers after them."""

    qkv: tuple[Tensor, Tensor | None]
    proj: tuple[Tensor, Tensor | None]
    fc1: tuple[Tensor, Tensor | None]
    fc2: tuple[Tensor, Tensor | None]


class PixelSampler:
    """Map tokens to the logits of the next colour, in the precision of autocast, up to N tokens of B images.

    Create and use it in inference mode, under the same autocast.
    """

    def __init__(self, blocks: Iterable[PixelBlock], output: tuple[nn.RMSNorm, nn.Linear], images: int, tokens: int):
        norm, head = output
        first, *_ = blocks
        device, width = head.weight.device, head.in_features
        autocast = torch.is_autocast_enabled(device.type)
        self.dtype = torch.get_autocast_dtype(device.type) if autocast else head.weight.dtype
        self.heads, self.gelu, self.epsilon = first.attn.heads, first.mlp.gelu, norm.eps
        self.blocks = [self.merge_norms(block) for block in blocks]
        self.output = self.merge_norm(head, norm)
        shape = len(self.blocks), images, self.heads, 2, tokens, width // self.heads
        self.caches = torch.zeros(shape, dtype=self.dtype, device=device).unbind()  # keys, then values
        self.end = 0  # tokens seen

    def merge_norms(self, block: PixelBlock) -> BlockWeights:
        """Return the weights of a block in the precision of the computation."""
        attention, mlp = block.attn, block.mlp
        layers = (attention.qkv, block.norm1), (attention.proj, None), (mlp.fc1, block.norm2), (mlp.fc2, None)
        return BlockWeights(*(self.merge_norm(*pair) for pair in layers))

    def merge_norm(self, layer: nn.Linear, norm: nn.RMSNorm | None) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias of a layer, with the weight of the norm before it merged in."""
        weight = layer.weight if norm is None else layer.weight * norm.weight
        return weight.to(self.dtype), None if layer.bias is None else layer.bias.to(self.dtype)

    def normalize(self, x: Tensor) -> Tensor:
        """Divide each token of [B, M, D] by the root of its mean square."""
        return functional.rms_norm(x, x.shape[-1:], None, self.epsilon).to(self.dtype)

    def append(self, x: Tensor) -> Tensor:
        """Map the next M tokens [B, M, D] to logits [B, K] of the colour after them; M is 1, or they are the first."""
        with torch.autocast(x.device.type, enabled=False):
            start, self.end = self.end, self.end + x.shape[1]
            for layer, cache in zip(self.blocks, self.caches):
                qkv = functional.linear(self.normalize(x), *layer.qkv)
                x = x + functional.linear(self.attend(qkv, cache, start), *layer.proj)
                x = x + functional.linear(self.gelu(functional.linear(self.normalize(x), *layer.fc1)), *layer.fc2)
            return functional.linear(self.normalize(x[:, -1]), *self.output)

    def attend(self, qkv: Tensor, cache: Tensor, start: int) -> Tensor:
        """Store the keys and values of ``qkv`` [B, M, 3 D] in the cache; return attention to all stored: [B, M, D]."""
        B, M, _ = qkv.shape
        parts = qkv.view(B, M, 3, self.heads, -1).permute(0, 3, 2, 1, 4)  # [B, H, 3, M, D/H]
        cache.narrow(3, start, M).copy_(parts.narrow(2, 1, 2))
        keys, values = cache.narrow(3, 0, self.end).unbind(2)
        mixed = functional.scaled_dot_product_attention(parts.select(2, 0), keys, values, is_causal=start == 0)
        return mixed.transpose(1, 2).flatten(2)
