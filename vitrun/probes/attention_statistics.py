"""What a network attends to, by figures 6, 7, 11 and 14 of arXiv 2010.11929: rollout, distance, maps.

Attention is [B, H, N, N]: of images, heads, queries and keys; the first P of N tokens are not patches. ``side`` squared
is the number of the others.
"""

import torch
from torch import Tensor

from vitrun.models import AttentionLayout


def grid_distances(side: int, pixels: float) -> Tensor:
    """Return the Euclidean distance in pixels between the centres of any two patches of a grid, [S, S] for S patches.

    Args:
        pixels: The distance of neighbours: the resolution divided by ``side``.
    """
    line = torch.arange(side)
    places = torch.cartesian_prod(line, line).double()  # [S, 2], in rows from the top left
    return pixels * torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")


def attention_distances(attention: Tensor, prefix: int, distances: Tensor) -> Tensor:
    """Return for each head the mean distance of attention in pixels, as two kinds of mean, and the share of the prefix.

    The distance of a query patch to all patches is weighted by its attention to them and averaged over the queries.
    Attention to the prefix tokens, which have no place, is left out. In the first kind the rest is divided by its sum,
    so that uniform attention has the mean distance of the grid whatever the number of prefix tokens; in the second it
    is not, as in published code. The last number is the attention of patches to the prefix. The result is [B, H, 3].
    """
    patches = attention[:, :, prefix:, prefix:]
    weighted = (patches * distances.to(patches)).sum(-1)  # [B, H, S]
    total = patches.sum(-1)
    normalized = weighted / total.clamp_min(torch.finfo(total.dtype).tiny)
    return torch.stack([normalized.mean(-1), weighted.mean(-1), 1 - total.mean(-1)], -1)


class DistanceMeter:
    """Mean attention distance of each head of each layer, accumulated over batches."""

    def __init__(self, layout: AttentionLayout, res: int):
        self.layout, self.res = layout, res
        self.distances = grid_distances(layout.side, res / layout.side)
        self.uniform = float(self.distances.mean())  # the mean distance of attention to all patches alike
        self.sums = torch.zeros(layout.layers, layout.heads, 3, dtype=torch.float64)
        self.images = 0

    def update(self, layer: int, attention: Tensor) -> None:
        """Add the attention of a layer for some images; the first layer counts them."""
        self.distances = self.distances.to(attention)
        self.sums[layer] += attention_distances(attention, self.layout.prefix, self.distances).cpu().double().sum(0)
        self.images += len(attention) if layer == 0 else 0

    def mean(self) -> Tensor:
        """Return the numbers of :func:`attention_distances` of each layer, averaged over the images: [L, H, 3]."""
        return self.sums / self.images


def residual_attention(attention: Tensor) -> Tensor:
    """Return the mean over heads, with the identity added for the residual branch and rows divided by their sum.

    [B, H, N, N] -> [B, N, N].
    """
    mixed = attention.mean(1) + torch.eye(attention.shape[-1]).to(attention)
    return mixed / mixed.sum(-1, keepdim=True)


class Rollout:
    """Attention rollout (arXiv 2005.00928): the product of all layers' attention, by which a token sees the input.

    R_1 = A'_1, R_n = A'_n R_(n-1), with A' as :func:`residual_attention`.
    """

    def __init__(self) -> None:
        self.product: Tensor | None = None  # [B, N, N]

    def update(self, attention: Tensor) -> None:
        """Multiply by the attention of the next layer."""
        step = residual_attention(attention)
        self.product = step if self.product is None else step @ self.product

    def read(self, layout: AttentionLayout, pool: Tensor | None) -> Tensor:
        """Return what the head reads of each patch, [B, side, side].

        Args:
            pool: The attention of a MAP head, [B, H, N]; None for a head that reads the class token or all patches.
        """
        assert self.product is not None
        weights = layout.reading.to(self.product) if pool is None else pool.mean(1)[:, None]  # [N] or [B, 1, N]
        return to_grid((weights @ self.product).view(len(self.product), -1), layout)


def attention_of_reader(attention: Tensor, layout: AttentionLayout) -> Tensor:
    """Return the attention of the tokens that the head reads, to each patch: [B, H, N, N] -> [B, H, side, side].

    Those are the class token or, without one, all patches, whose mean it is.
    """
    return to_grid(layout.reading.to(attention) @ attention, layout)


def to_grid(rows: Tensor, layout: AttentionLayout) -> Tensor:
    """Return the patches among tokens as a grid: [..., N] -> [..., side, side]."""
    return rows[..., layout.prefix :].unflatten(-1, (layout.side, layout.side))
