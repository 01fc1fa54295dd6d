"""Attention on feature maps: beside a convolution (arXiv 1904.09925), and in its place (arXiv 1906.05909).

Both add a learned term for the row and one for the column of a key, seen from the query. The terms are folded into the
dot product: the query is extended by its terms for every row and every column, the key by where it is as one-hot
vectors. The logits are then those of one larger dot product, exactly, and fused attention computes them without a
tensor of all pairs.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

OUTSIDE = -1e4  # logit of a key outside the window or the image


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


class WindowAttention(nn.Module):
    """Attention of each place to the ``window`` by ``window`` places around it: [B, F, h, w] -> [B, F', h, w].

    The logits are not scaled (arXiv 1906.05909, section 3.1). The paper does not say what is outside the image: with
    ``border="zero"`` there are zeros, which take part in the softmax, as in all published ports; with "masked" nothing.
    """

    def __init__(self, channels: int, out: int, window: int, heads: int, border: str):
        super().__init__()
        self.window, self.heads, self.border = window, heads, border
        self.q, self.k, self.v = (nn.Conv2d(channels, out, 1, bias=False) for _ in range(3))
        self.relative_rows = nn.Parameter(torch.empty(window, out // heads // 2))
        self.relative_columns = nn.Parameter(torch.empty(window, out // heads - out // heads // 2))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, F, h, w] to [B, F', h, w].

        The map is cut into blocks of queries, each with the keys within half a window around it. Keys of a block that
        are outside the window of a query get :data:`OUTSIDE`.
        """
        h, w = x.shape[2:]
        block, margin = self.window, self.window // 2
        below, right = -h % block, -w % block
        q = to_blocks(functional.pad(self.q(x), (0, right, 0, below)), block, block, self.heads)
        around = (margin, margin + right, margin, margin + below)
        span = block + 2 * margin  # keys along a side
        k, v = (to_blocks(functional.pad(part, around), span, block, self.heads) for part in (self.k(x), self.v(x)))
        grid = q.unflatten(-2, (block, block))  # [B * blocks, H, b, b, d]
        half = self.relative_rows.shape[1]
        rows = torch.einsum("nhyxd,yjd->nhyxj", grid[..., :half], pick_window(self.relative_rows, block).to(q.dtype))
        columns = torch.einsum(
            "nhyxd,xjd->nhyxj", grid[..., half:], pick_window(self.relative_columns, block).to(q.dtype)
        )
        outside = mask_outside(block, self.window, q)
        q = torch.cat([grid, rows + outside[:, None], columns + outside[None]], -1).flatten(-3, -2)
        k = torch.cat([k, place_keys(span, span, k)], -1)
        if self.border == "masked":
            q, k = self.mask_border(x, q, k, span)
        mixed = attend(q, k, v)
        return from_blocks(mixed, len(x), h, w, block)

    def mask_border(self, x: Tensor, q: Tensor, k: Tensor, span: int) -> tuple[Tensor, Tensor]:
        """Return queries and keys with one more number, whose product is :data:`OUTSIDE` for keys beyond the image."""
        h, w = x.shape[2:]
        margin = self.window // 2
        below, right = -h % self.window, -w % self.window
        beyond = functional.pad(x.new_zeros(len(x), 1, h, w), (margin, margin + right, margin, margin + below), value=1)
        flags = to_blocks(beyond, span, self.window, 1).to(k.dtype).expand(-1, self.heads, -1, -1)
        return torch.cat([q, torch.ones_like(q[..., :1])], -1), torch.cat([k, OUTSIDE * flags], -1)


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
        return functional.max_pool2d(self.norm(self.attend(images)).relu(), self.block)

    def attend(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, F, R, R]."""
        h, w = images.shape[2:]
        q, k, v = (
            to_blocks(layer(images), self.block, self.block, self.heads) for layer in (self.q, self.k, self.values)
        )
        return from_blocks(attend(q, k, v), len(images), h, w, self.block)

    def values(self, images: Tensor) -> Tensor:
        """Return the mixed values: [B, 3, R, R] -> [B, F, R, R]."""
        h, w = images.shape[2:]
        places = self.row_embed[:, None] + self.column_embed  # [b, b, width]
        shares = (places @ self.mixture.T).softmax(-1).permute(2, 0, 1)  # [m, b, b]
        shares = shares.repeat(1, h // self.block, w // self.block)  # [m, R, R]
        values = self.v(images).unflatten(1, (len(self.mixture), -1))  # [B, m, F, R, R]
        return (values * shares[:, None].to(values.dtype)).sum(1)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return attention without a scale; fused kernels need values as wide as the keys: [..., N, V]."""
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


def pick_window(table: Tensor, block: int) -> Tensor:
    """Return the row of a table [window, d] for each query of a block and key around it: [b, b + window - 1, d].

    It is any row for keys outside the window, whose logits do not count.
    """
    offsets = window_offsets(block, len(table), table.device)
    return table[offsets.clamp(0, len(table) - 1)]


def mask_outside(block: int, window: int, like: Tensor) -> Tensor:
    """Return :data:`OUTSIDE` for the keys outside the window of each query of a block, else 0: [b, b + window - 1]."""
    offsets = window_offsets(block, window, like.device)
    return like.new_zeros(offsets.shape).masked_fill((offsets < 0) | (offsets >= window), OUTSIDE)


def window_offsets(block: int, window: int, device: torch.device) -> Tensor:
    """Return the place of each key in the window of each query, along one side: [b, b + window - 1]."""
    keys = torch.arange(block + 2 * (window // 2), device=device)
    return keys[None] - torch.arange(block, device=device)[:, None]


def place_keys(h: int, w: int, keys: Tensor) -> Tensor:
    """Return the row and the column of each key as one-hot vectors: [..., h w, d] -> [..., h w, h + w]."""
    rows = torch.eye(h, device=keys.device, dtype=keys.dtype).repeat_interleave(w, 0)
    columns = torch.eye(w, device=keys.device, dtype=keys.dtype).repeat(h, 1)
    return torch.cat([rows, columns], 1).expand(*keys.shape[:-1], h + w)


def to_blocks(x: Tensor, size: int, step: int, heads: int) -> Tensor:
    """Cut a map into blocks of ``size`` at every ``step``: [B, H d, h, w] -> [B * blocks, H, size * size, d]."""
    blocks = x.unfold(2, size, step).unfold(3, size, step)  # [B, H d, rows, columns, size, size]
    return blocks.permute(0, 2, 3, 1, 4, 5).flatten(4).flatten(0, 2).unflatten(1, (heads, -1)).transpose(2, 3)


def from_blocks(x: Tensor, batch: int, h: int, w: int, block: int) -> Tensor:
    """Join blocks to a map: [B * blocks, H, b * b, d] -> [B, H d, h, w]."""
    rows, columns = -(-h // block), -(-w // block)
    x = x.transpose(2, 3).flatten(1, 2).unflatten(2, (block, block)).unflatten(0, (batch, rows, columns))
    return x.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)[:, :, :h, :w]


@torch.no_grad()
def init_grid_attention(module: Any) -> None:
    """Initialize the tables of positions of a layer of attention, normal as published or by fan-in."""
    if isinstance(module, (AugmentedConv, WindowAttention)):
        for table in (module.relative_rows, module.relative_columns):
            nn.init.normal_(table, std=table.shape[1] ** -0.5)
    elif isinstance(module, AttentionStem):
        for table in (module.row_embed, module.column_embed, module.mixture):
            nn.init.normal_(table, std=table.shape[1] ** -0.5)
