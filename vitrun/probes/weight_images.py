"""Weights as images, by figures 7 and 10 of arXiv 2010.11929: principal filters, and similarity of positions."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class PrincipalFilters(NamedTuple):
    """Principal components of the D filters of a patch embedding."""

    filters: Tensor  # [K, 3, P, P], of norm 1, with the largest weight positive
    explained: Tensor  # [K] shares of the variance


def principal_filters(weights: Tensor, number: int) -> PrincipalFilters:
    """Return the first principal components of filters [D, 3, P, P], taken as D vectors; at most ``number``."""
    vectors = weights.double().flatten(1)
    centered = vectors - vectors.mean(0)
    _, singular, components = torch.linalg.svd(centered, full_matrices=False)
    variance = singular.square()
    explained = variance / variance.sum().clamp_min(torch.finfo(variance.dtype).tiny)
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    filters = (components * torch.where(largest < 0, -1, 1)).unflatten(1, weights.shape[1:])
    return PrincipalFilters(filters[:number], explained[:number])


def position_similarity(table: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the cosine similarity of positions [G, G, D] to those of some places, and the rows of these places.

    The result is [T, T, G, G]: at [r, c] that of the position at ``rows[r]``, ``rows[c]`` with all others. T is G, or
    ``most`` places evenly drawn from larger grids.
    """
    side = len(table)
    rows = torch.linspace(0, side - 1, min(side, most)).round().long()
    positions = functional.normalize(table.double(), dim=-1)
    tiles = positions[rows][:, rows]
    return torch.einsum("rcd,ijd->rcij", tiles, positions), rows
