"""Weights of a network that can be seen as images: filters of the patch embedding, and position embeddings."""

from math import isqrt
from typing import cast

import torch
from torch import Tensor, nn

from vitrun.errors import UserError
from vitrun.models.igpt import IGpt
from vitrun.models.network import Network
from vitrun.models.timm_wrapper import TimmNetwork
from vitrun.models.vit import ViT


class NoEmbedding(UserError):
    """A network without filters of pixels, or without a table of positions: the reason is the message."""


def patch_filters(network: Network) -> Tensor:
    """Return the filters of the patch embedding, [D, 3, P, P], for images in [-1, 1].

    Raise NoEmbedding if none reads pixels.
    """
    name, embedding = network.row.name, getattr(network, "patch_embed", None)
    scale = torch.ones(3, 1, 1)
    if isinstance(network, TimmNetwork):
        embedding, scale = getattr(network.body, "patch_embed", None), network.scale.cpu()
    projection = getattr(embedding, "proj", None)
    if getattr(embedding, "backbone", None) is not None:
        raise NoEmbedding(f"the patch embedding of {name} reads the feature map of its ResNet, not pixels")
    if not isinstance(projection, nn.Conv2d) or projection.in_channels != 3:
        raise NoEmbedding(f"{name} has no single layer that embeds patches of pixels")
    return projection.weight.detach().float().cpu() * scale


def grid_positions(network: Network) -> Tensor:
    """Return the position embeddings of the patches, [G, G, D], those of the first layer if each has its own.

    Of an ImageGPT they are those of the pixels.

    Raise NoEmbedding if no table is added to the patches.
    """
    name = network.row.name
    if isinstance(network, ViT):
        table = network.positions()
        if table is None:
            kind = {"none": "no", "relative": "relative"}[network.row.positions]
            raise NoEmbedding(f"{name} has {kind} positions, and no embedding of each place")
        return table[0, network.prefix :].detach().float().cpu().unflatten(0, (network.side, network.side))
    body = network.body if isinstance(network, TimmNetwork) else network if isinstance(network, IGpt) else None
    table = cast(Tensor | None, getattr(body, "pos_embed", None))
    if not isinstance(table, Tensor) or table.ndim not in (3, 4) or len(table) != 1:
        raise NoEmbedding(f"{name} has no table of positions, but rotary or relative ones, or none")
    if table.ndim == 4:
        return table[0].detach().float().cpu()  # [G, G, D]
    for prefix in (getattr(body, "num_prefix_tokens", 0), 0):
        if (side := isqrt(rows := table.shape[1] - prefix)) ** 2 == rows:
            return table[0, prefix:].detach().float().cpu().unflatten(0, (side, side))
    raise NoEmbedding(f"the {table.shape[1]} positions of {name} do not form a square")
