"""Where each token stands: fixed positions, and how tables of positions change with the resolution."""

import torch
from torch import Tensor
from torch.nn import functional


def sincos2d(side: int, width: int) -> Tensor:
    """Big_vision's fixed table [1, side*side, D]: sines and cosines of column, then of row, at D/4 frequencies."""
    rate = 10_000 ** -(torch.arange(width // 4, dtype=torch.float64, device="cpu") / (width // 4 - 1))
    angle = torch.arange(side, dtype=torch.float64, device="cpu")[:, None] * rate  # [side, D/4]
    wave = torch.cat([angle.sin(), angle.cos()], 1)  # [side, D/2]
    column, row = wave.expand(side, side, -1), wave[:, None].expand(side, side, -1)
    return torch.cat([column, row], 2).reshape(1, side * side, width).float()


def resample_grid(table: Tensor, side: int, prefix: int) -> Tensor:
    """Tables [L, P+G*G, D] -> [L, P+side*side, D], bilinear with the corner patches kept in place.

    It equals the ``scipy.ndimage.zoom(order=1)`` of vit_jax/checkpoint.py and big_vision/models/vit.py.
    """
    old = round((table.shape[1] - prefix) ** 0.5)
    grid = table[:, prefix:].float().unflatten(1, (old, old)).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, (side, side), mode="bilinear", align_corners=True)
    return torch.cat([table[:, :prefix], grid.flatten(2).transpose(1, 2)], 1)


def resample_line(table: Tensor, rows: int) -> Tensor:
    """Tables along one axis [L, n, D] -> [L, rows, D], linear with the ends kept in place."""
    return functional.interpolate(table.float().transpose(1, 2), rows, mode="linear", align_corners=True).transpose(
        1, 2
    )
