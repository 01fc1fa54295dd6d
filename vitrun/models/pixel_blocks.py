"""Blocks of ImageGPT, as the published code has them (openai/image-gpt, src/model.py)."""

from torch import Tensor, nn
from torch.nn import functional

from vitrun.models.attention import GELUS, attention_weights, fused_is_faster
from vitrun.models.causal_attention import causal_attention
from vitrun.models.compiled_attention import compiled_attention
from vitrun.recipes import IGpt as Row


class PixelAttention(nn.Module):
    """Multi-head self-attention, of each pixel to those before it and itself if ``causal``, else to all."""

    def __init__(self, row: Row):
        super().__init__()
        self.heads, self.causal = row.heads, row.causal
        self.fused_attn: bool | None = None  # see fused_attention(); None: where it is faster
        self.qkv = nn.Linear(row.width, 3 * row.width, bias=row.bias)
        self.proj = nn.Linear(row.width, row.width, bias=row.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, N, D] to [B, N, D]."""
        q, k, v = self.split(x)
        return self.proj(self.mix(q, k, v).transpose(1, 2).flatten(2))

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return the values weighted by attention: three of [B, H, N, D/H] -> [B, H, N, D/H]."""
        if (mixed := compiled_attention(q, k, v, self.causal)) is not None:
            return mixed
        if self.fused_attn if self.fused_attn is not None else fused_is_faster(q):
            return functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return causal_attention(q, k, v) if self.causal else attention_weights(q, k) @ v

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values: [B, N, D] -> three of [B, H, N, D/H]."""
        return self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()


class PixelMlp(nn.Module):
    """Two dense layers around a form of GELU."""

    def __init__(self, row: Row):
        super().__init__()
        self.gelu = GELUS[row.gelu]
        self.fc1 = nn.Linear(row.width, row.mlp, bias=row.bias)
        self.fc2 = nn.Linear(row.mlp, row.width, bias=row.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, N, D] to [B, N, D]."""
        return self.fc2(self.gelu(self.fc1(x)))


class PixelBlock(nn.Module):
    """A pre-norm block."""

    def __init__(self, row: Row):
        super().__init__()
        self.norm1 = nn.RMSNorm(row.width, row.epsilon)
        self.attn = PixelAttention(row)
        self.norm2 = nn.RMSNorm(row.width, row.epsilon)
        self.mlp = PixelMlp(row)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, N, D] to [B, N, D]."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))
