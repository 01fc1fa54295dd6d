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

BLOCK = 4  # queries along the side of a block, if 4 divides the map; else as many as the window has
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
        block = self.choose_block(h, w)
        q, k, v = self.project_blocks(x, block)
        grid = q.unflatten(-2, (block, block))  # [B * blocks, H, b, b, d]
        half = self.relative_rows.shape[1]
        rows = torch.einsum("nhyxd,yjd->nhyxj", grid[..., :half], pick_window(self.relative_rows, block).to(q.dtype))
        columns = torch.einsum(
            "nhyxd,xjd->nhyxj", grid[..., half:], pick_window(self.relative_columns, block).to(q.dtype)
        )
        outside = mask_outside(block, self.window, q)
        q = torch.cat([grid, rows + outside[:, None], columns + outside[None]], -1).flatten(-3, -2)
        span = block + 2 * (self.window // 2)  # keys along a side
        k = torch.cat([k, place_keys(span, span, k)], -1)
        if self.border == "masked":
            q, k = self.mask_border(x, q, k, block)
        mixed = attend(q, k, v)
        return from_blocks(mixed, x.shape[0], h, w, block)  # not len(x), which an export would take for a constant

    def choose_block(self, h: int, w: int) -> int:
        """Return the side of a block of queries; the smaller it is, the fewer of its keys are outside of a window."""
        return self.window if h % BLOCK or w % BLOCK else BLOCK

    def project_blocks(self, x: Tensor, block: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries [B * blocks, H, b * b, d], and keys and values [B * blocks, H, s * s, d].

        ``s`` is the side of a block with a margin of half a window on each side.
        """
        h, w = x.shape[2:]
        margin = self.window // 2
        span = block + 2 * margin
        below, right = -h % block, -w % block
        weights = torch.cat([layer.weight for layer in (self.q, self.k, self.v)]).flatten(1)  # [3 F', F]
        maps = functional.linear(x.permute(0, 2, 3, 1), weights)  # [B, h, w, 3 F']
        after = (span - 1) // block * block - margin  # add_margins needs whole blocks
        maps = functional.pad(maps, (0, 0, margin, after + right, margin, after + below))
        q, k, v = maps.chunk(3, 3)
        inside = q[:, margin : margin + h + below, margin : margin + w + right]
        q = inside.unflatten(1, (-1, block)).unflatten(3, (-1, block))
        for axis, side in ((1, h + below), (3, w + right)):
            k, v = (add_margins(part, axis, block, side // block, span) for part in (k, v))
        return cut_heads(q, self.heads), cut_heads(k, self.heads), cut_heads(v, self.heads)

    def mask_border(self, x: Tensor, q: Tensor, k: Tensor, block: int) -> tuple[Tensor, Tensor]:
        """Return queries and keys with one more number, whose product is :data:`OUTSIDE` for keys beyond the image."""
        h, w = x.shape[2:]
        margin = self.window // 2
        below, right = -h % block, -w % block
        beyond = functional.pad(
            x.new_zeros(x.shape[0], 1, h, w), (margin, margin + right, margin, margin + below), value=1
        )
        flags = to_blocks(beyond, block + 2 * margin, block, 1).to(k.dtype).expand(-1, self.heads, -1, -1)
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
        rows, columns = (side // self.block for side in images.shape[2:])
        x = self.attend(images).transpose(2, 3).flatten(1, 2)  # [B * blocks, F, b * b]
        x = x.unflatten(2, (self.block, self.block))
        x = functional.max_pool2d(self.norm(x).relu(), self.block)
        return x.view(images.shape[0], rows, columns, -1).permute(0, 3, 1, 2)

    def attend(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to blocks [B * blocks, H, b * b, F / H]."""
        pixels = to_blocks(images, self.block, self.block, 1)[:, 0]  # [B * blocks, b * b, 3]
        q, k = (functional.linear(pixels, layer.weight.flatten(1)) for layer in (self.q, self.k))
        v = torch.einsum("npc,pcf->npf", pixels, self.mix_values().to(pixels.dtype))
        return attend(*(part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, k, v.to(q.dtype))))

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


def add_margins(x: Tensor, axis: int, block: int, number: int, span: int) -> Tensor:
    """Cut an axis into ``number`` overlapping pieces of ``span``, one every ``block`` places: [n] -> [number, span].

    ``Tensor.unfold`` does the same, with a slower gradient. Each part of ``block`` places is taken from all pieces at
    once, so the axis must have whole blocks up to the end of the last piece.
    """
    pieces = []
    for start in range(0, span, block):
        part = x.narrow(axis, start, number * block).unflatten(axis, (number, block))
        pieces.append(part.narrow(axis + 1, 0, min(block, span - start)))
    return torch.cat(pieces, axis + 1)


def cut_heads(x: Tensor, heads: int) -> Tensor:
    """Map blocks [B, rows, a, columns, b, H d] to [B * rows * columns, H, a * b, d]."""
    return x.unflatten(5, (heads, -1)).permute(0, 1, 3, 5, 2, 4, 6).flatten(4, 5).flatten(0, 2)


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
