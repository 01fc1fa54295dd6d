"""Attention in place of a convolution, to the window around each place of a map (arXiv 1906.05909).

It has a learned term for the row and one for the column of a key, seen from the query. On a CPU it is computed by
compiled functions. Elsewhere the terms are folded into one dot product, as in :mod:`vitrun.models.grid_attention`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun.models.compiled_windows import CompiledWindows, find_compiled
from vitrun.models.grid_attention import attend, place_keys, to_blocks

BLOCK = 4  # queries along the side of a block, if 4 divides the map; else as many as the window has
OUTSIDE = -1e4  # logit of a key outside the window or the image


class WindowAttention(nn.Module):
    """Attention of each place to the ``window`` by ``window`` places around it: [B, F, h, w] -> [B, F', h, w].

    The logits are not scaled (arXiv 1906.05909, section 3.1). The paper does not say what is outside the image: with
    ``border="zero"`` there are zeros, which take part in the softmax, as in all published ports; with "masked" nothing.
    """

    def __init__(self, channels: int, out: int, window: int, heads: int, border: str):
        super().__init__()
        self.window, self.heads, self.border = window, heads, border
        self.plans_compiled = False  # whether tensors without numbers take the way of compiled functions
        self.q, self.k, self.v = (nn.Conv2d(channels, out, 1, bias=False) for _ in range(3))
        self.relative_rows = nn.Parameter(torch.empty(window, out // heads // 2))
        self.relative_columns = nn.Parameter(torch.empty(window, out // heads - out // heads // 2))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, F, h, w] to [B, F', h, w]."""
        library = find_compiled(x)
        if library is None and not self.plans_compiled:
            return self.attend_blocks(x)
        maps = functional.conv2d(x, torch.cat([layer.weight for layer in (self.q, self.k, self.v)]))
        tables = self.relative_rows.float(), self.relative_columns.float()
        return CompiledWindows.apply(maps, *tables, self.heads, self.border == "masked", library)

    def attend_blocks(self, x: Tensor) -> Tensor:
        """Map [B, F, h, w] to [B, F', h, w] by dot products of blocks.

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
