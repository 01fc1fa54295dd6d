"""Attention to a whole feature map beside a convolution (arXiv 1904.09925), and in a stem (arXiv 1906.05909).

Attention beside a convolution adds a learned term for the row and one for the column of a key, seen from the query. The
terms are folded into the dot product: the query is extended by its terms for every row and every column, the key by
where it is as one-hot vectors. The logits are then those of one larger dot product, exactly, and fused attention
computes them without a tensor of all pairs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class AugmentedConv(nn.Module):
    """A convolution with attention to the whole feature map beside it: [B, F, h, w] -> [B, F', h/stride, w/stride].

    Of the F' channels ``value`` come from attention (arXiv 1904.09925, section 3.2). With a stride attention reads the
    map after an average pool; with ``pool`` it works at half of the side, and its output is enlarged bilinearly
    (section 3.3).

    Args:
        side: Side of the output, which the tables of relative positions are for.
        key: Channels of the queries and keys of all heads.
    """

    def __init__(
        self, channels: int, out: int, stride: int, side: int, *, heads: int, key: int, value: int, pool: bool = False,
        bias: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.heads, self.key, self.value, self.stride, self.pool = heads, key, value, stride, pool
        side = -(-side // 2) if pool else side
        self.conv = nn.Conv2d(channels, out - value, 3, stride, 1, bias=bias)
        self.qkv = nn.Conv2d(channels, 2 * key + value, 1, bias=bias)
        self.proj = nn.Conv2d(value, value, 1, bias=bias)
        self.relative_rows = nn.Parameter(torch.empty(2 * side - 1, key // heads))
        self.relative_columns = nn.Parameter(torch.empty(2 * side - 1, key // heads))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, F, h, w] to [B, F', h/stride, w/stride]."""
        local = self.conv(x)
        for _ in range((self.stride > 1) + self.pool):
            x = functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        everywhere = self.proj(self.attend(self.qkv(x)))
        if everywhere.shape != local.shape:
            everywhere = functional.interpolate(everywhere, local.shape[2:], mode="bilinear")
        return torch.cat([local, everywhere], 1)

    def attend(self, qkv: Tensor) -> Tensor:
        """Map queries, keys and values [B, 2 K + V, h, w] to what is attended to, [B, V, h, w]."""
        h, w = qkv.shape[2:]
        q, k, v = (split_heads(part, self.heads) for part in qkv.split([self.key, self.key, self.value], 1))
        q = q * q.shape[-1] ** -0.5  # before both products
        grid = q.unflatten(2, (h, w))  # [B, H, h, w, d]
        rows = torch.einsum("bhyxd,yjd->bhyxj", grid, pick_offsets(self.relative_rows, h).to(q.dtype))
        columns = torch.einsum("bhyxd,xjd->bhyxj", grid, pick_offsets(self.relative_columns, w).to(q.dtype))
        q = torch.cat([grid, rows, columns], -1).flatten(2, 3)
        return join_heads(attend(q, torch.cat([k, place_keys(h, w, k)], -1), v), h, w)


class AttentionStem(nn.Module):
    """Attention within blocks of 4 by 4 pixels, a norm and a max-pool of them: [B, 3, R, R] -> [B, F, R/4, R/4].

    The values are mixtures of ``mixtures`` projections by the place in the block, and there is no relative term
    (arXiv 1906.05909, section 3.2). The paper prints neither their number nor the width of the places' embeddings: 4
    fits its FLOPs, the width is our choice.
    """

    def __init__(self, out: int, heads: int, mixtures: int = 4, block: int = 4, width: int = 16):
        super().__init__()
        self.heads, self.block = heads, block
        self.q, self.k = (nn.Conv2d(3, out, 1, bias=False) for _ in range(2))
        self.v = nn.Conv2d(3, mixtures * out, 1, bias=False)
        self.row_embed = nn.Parameter(torch.empty(block, width))
        self.column_embed = nn.Parameter(torch.empty(block, width))
        self.mixture = nn.Parameter(torch.empty(mixtures, width))
        self.norm = nn.BatchNorm2d(out)

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, F, R/4, R/4]."""
        rows, columns = (side // self.block for side in images.shape[2:])
        x = self.attend(images).transpose(1, 2).flatten(2)  # [B * blocks, b * b, F]
        x = self.norm(x.unflatten(1, (self.block, self.block)).permute(0, 3, 1, 2))  # whose channels are the last axis
        x = functional.max_pool2d(x, self.block).relu()
        return x.view(images.shape[0], rows, columns, -1).permute(0, 3, 1, 2)

    def attend(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to blocks [B * blocks, H, b * b, F / H].

        As pixels have 3 channels, the projections of queries and keys are multiplied first, to 3 by 3 numbers a head.
        """
        pixels = to_blocks(images, self.block, self.block, 1)[:, 0]  # [B * blocks, b * b, 3]
        q, k = (layer.weight.flatten(1).unflatten(0, (self.heads, -1)) for layer in (self.q, self.k))  # [H, d, 3]
        queries = torch.einsum("npc,hce->nhpe", pixels, torch.einsum("hdc,hde->hce", q, k))
        logits = queries @ pixels.transpose(1, 2)[:, None].to(queries.dtype)
        v = torch.einsum("npc,pcf->npf", pixels, self.mix_values().to(pixels.dtype))
        weights = logits.softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))  # slow in bf16 on a CPU
        return weights.to(logits.dtype) @ v.unflatten(2, (self.heads, -1)).transpose(1, 2).to(logits.dtype)

    def mix_values(self) -> Tensor:
        """Return the projection of values at each place in a block, a mixture of those in ``self.v``: [b * b, 3, F]."""
        places = self.row_embed[:, None] + self.column_embed  # [b, b, width]
        shares = (places @ self.mixture.T).softmax(-1).flatten(0, 1)  # [b * b, m]
        return torch.einsum("pm,mfc->pcf", shares, self.v.weight.flatten(1).unflatten(0, (len(self.mixture), -1)))


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return attention without a scale, [..., N, V].

    On a CPU two products and a softmax are faster than the fused function for so few keys: that one needs values as
    wide as the keys with their places, and its backward pass is slow.
    """
    if not q.is_cuda:
        return (q @ k.transpose(-2, -1)).softmax(-1) @ v
    padded = functional.pad(v, (0, q.shape[-1] - v.shape[-1]))
    return functional.scaled_dot_product_attention(q, k.to(q.dtype), padded.to(q.dtype), scale=1.0)[..., : v.shape[-1]]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Map [B, H d, h, w] to [B, H, h w, d]."""
    return x.flatten(2).unflatten(1, (heads, -1)).transpose(2, 3)


def join_heads(x: Tensor, h: int, w: int) -> Tensor:
    """Map [B, H, h w, d] to [B, H d, h, w]."""
    return x.transpose(2, 3).flatten(1, 2).unflatten(2, (h, w))


def pick_offsets(table: Tensor, side: int) -> Tensor:
    """Return the row of a table [2 side - 1, d] for each pair of places, by key minus query: [side, side, d]."""
    place = torch.arange(side, device=table.device)
    return table[place[None] - place[:, None] + side - 1]


def place_keys(h: int, w: int, keys: Tensor) -> Tensor:
    """Return the row and the column of each key as one-hot vectors: [..., h w, d] -> [..., h w, h + w]."""
    rows = torch.eye(h, device=keys.device, dtype=keys.dtype).repeat_interleave(w, 0)
    columns = torch.eye(w, device=keys.device, dtype=keys.dtype).repeat(h, 1)
    return torch.cat([rows, columns], 1).expand(*keys.shape[:-1], h + w)


def to_blocks(x: Tensor, size: int, step: int, heads: int) -> Tensor:
    """Cut a map into blocks of ``size`` at every ``step``: [B, H d, h, w] -> [B * blocks, H, size * size, d]."""
    blocks = x.unfold(2, size, step).unfold(3, size, step)  # [B, H d, rows, columns, size, size]
    return blocks.permute(0, 2, 3, 1, 4, 5).flatten(4).flatten(0, 2).unflatten(1, (heads, -1)).transpose(2, 3)
