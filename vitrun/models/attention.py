"""Self-attention and the blocks around it, with the module names of timm's ``VisionTransformer``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun.models.compiled_attention import compiled_attention
from vitrun.models.gelu import quick_gelu, tanh_gelu
from vitrun.models.noise import SkippedBlock
from vitrun.recipes import TextTower, ViT

Row = ViT | TextTower

GELUS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": tanh_gelu,  # flax's default
    "exact": functional.gelu,  # torch's default
    "quick": quick_gelu,  # CLIP's
}


class Attention(nn.Module):
    """Multi-head self-attention with biases on queries, keys, values and output.

    With ``causal`` a token attends to itself and those before it.
    """

    def __init__(self, width: int, heads: int, causal: bool = False):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.fused_attn: bool | None = None  # as in timm, see fused_attention(); None: where it is faster
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, offsets: Tensor | None = None, outputs: int | None = None) -> Tensor:
        """Map [B, N, D] to [B, N, D], or the first ``outputs`` tokens; ``offsets`` [2N-1, D] are relative positions."""
        q, k, v = self.split(x) if outputs is None else self.split_first(x, outputs)
        return self.proj(self.mix(q, k, v, offsets).transpose(1, 2).flatten(2))

    def mix(self, q: Tensor, k: Tensor, v: Tensor, offsets: Tensor | None) -> Tensor:
        """Return the values weighted by attention: [B, H, Q, D/H], two of [B, H, N, D/H] -> [B, H, Q, D/H]."""
        if offsets is None and (mixed := compiled_attention(q, k, v, self.causal)) is not None:
            return mixed
        if offsets is None and (self.fused_attn if self.fused_attn is not None else fused_is_faster(q)):
            return functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return attention_weights(q, k, offsets, self.causal) @ v

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values: [B, N, D] -> three of [B, H, N, D/H]."""
        q, k, v = self.split_heads(self.qkv(x))
        return q, k, v

    def split_first(self, x: Tensor, outputs: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the same as :meth:`split`, but the queries of the first ``outputs`` tokens only."""
        D, weight, bias = x.shape[2], self.qkv.weight, self.qkv.bias
        (q,) = self.split_heads(functional.linear(x[:, :outputs], weight[:D], bias[:D]))
        k, v = self.split_heads(functional.linear(x, weight[D:], bias[D:]))
        return q, k, v

    def split_heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [B, N, k D] to k of [B, H, N, D/H]."""
        size = self.proj.in_features // self.heads
        return x.unflatten(2, (-1, self.heads, size)).permute(2, 0, 3, 1, 4).unbind()


def fused_is_faster(q: Tensor) -> bool:
    """Return whether fused attention is faster: on a CPU in float32 but not in bf16 (backward), elsewhere always."""
    return not q.is_cpu or (q.dtype == torch.float32 and not torch.is_autocast_enabled("cpu"))


@contextmanager
def fused_attention(network: nn.Module, fused: bool | None) -> Iterator[None]:
    """Let a network, or one of timm, compute attention by torch's fused function or not; None changes nothing."""
    modules: list[Any] = [module for module in network.modules() if fused is not None and hasattr(module, "fused_attn")]
    before = [module.fused_attn for module in modules]
    try:
        for module in modules:
            module.fused_attn = fused
        yield
    finally:
        for module, value in zip(modules, before):
            module.fused_attn = value


def attention_weights(q: Tensor, k: Tensor, offsets: Tensor | None = None, causal: bool = False) -> Tensor:
    """Return the softmax over keys of the scaled products: [B, H, Q, D/H], [B, H, N, D/H] -> [B, H, Q, N]."""
    q = q * q.shape[-1] ** -0.5
    logits = q @ k.transpose(-2, -1)
    if offsets is not None:
        logits = logits + relative_logits(q, offsets)
    if causal:
        later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        logits = logits.masked_fill(later, -torch.inf)
    return logits.softmax(-1)


def relative_logits(q: Tensor, offsets: Tensor) -> Tensor:
    """Return the logits of the first Q queries for relative positions: [B, H, Q, D/H], [2N-1, D] -> [B, H, Q, N].

    Each offset p_q - p_k has one embedding, used as a key beside the content (arXiv 2010.11929, appendix D.4).
    """
    B, H, Q, d = q.shape
    N = (len(offsets) + 1) // 2
    keys = offsets.view(2 * N - 1, H, d).permute(1, 2, 0)  # [H, D/H, 2N-1]
    position = torch.arange(N, device=q.device)
    row = position[:Q, None] - position[None, :] + N - 1  # [Q, N], row of the table for each query and key
    return (q @ keys).gather(3, row.expand(B, H, Q, N))


class Mlp(nn.Module):
    """Two dense layers around a form of GELU, with dropout after each."""

    def __init__(self, row: Row, dropout: float):
        super().__init__()
        self.gelu = GELUS[row.gelu]
        self.fc1 = nn.Linear(row.width, row.mlp)
        self.fc2 = nn.Linear(row.mlp, row.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, N, D] to [B, N, D]."""
        return self.dropout(self.fc2(self.dropout(self.gelu(self.fc1(x)))))


class Block(SkippedBlock):
    """A pre-norm encoder block, of which each branch is dropped with probability ``skip``."""

    def __init__(self, row: Row, skip: float, causal: bool = False):
        super().__init__()
        self.norm1 = nn.LayerNorm(row.width, row.epsilon)
        self.attn = Attention(row.width, row.heads, causal)
        self.norm2 = nn.LayerNorm(row.width, row.epsilon)
        self.mlp = Mlp(row, row.dropout)
        self.dropout = nn.Dropout(row.dropout)
        self.skip = skip

    def forward(self, x: Tensor, offsets: Tensor | None = None, outputs: int | None = None) -> Tensor:
        """Map [B, N, D] to [B, N, D], or only the first ``outputs`` tokens, which attend to all."""
        x = x[:, :outputs] + self.drop_path(self.dropout(self.attn(self.norm1(x), offsets, outputs)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class AttentionPool(nn.Module):
    """MAP head of big_vision: one learned query attends to all tokens, then an MLP (arXiv 2106.04560, section 2.3)."""

    def __init__(self, row: Row):
        super().__init__()
        width = row.width
        self.heads = row.heads
        self.latent = nn.Parameter(torch.empty(1, 1, width))
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, row.epsilon)
        self.mlp = Mlp(row, dropout=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, N, D] to [B, D]."""
        weights, v = self.attend(x)
        x = self.proj((weights @ v).reshape(len(x), -1))
        return x + self.mlp(self.norm(x))

    def attend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the attention of the query [B, H, 1, N] and the values [B, H, N, D/H] of tokens [B, N, D]."""
        B, N, D = x.shape
        q = self.q(self.latent).view(1, 1, self.heads, D // self.heads).transpose(1, 2).expand(B, -1, -1, -1)
        k, v = self.kv(x).view(B, N, 2, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)  # [B, H, N, D/H] each
        return attention_weights(q, k), v
