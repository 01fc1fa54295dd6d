"""Fixed position embeddings, and the resampling of position tables to another resolution."""

import torch
from torch import Tensor
from torch.nn import functional


def sincos2d(side: int, width: int) -> Tensor:
    """Return big_vision's fixed table [1, side*side, D]: sines, cosines of column, then of row, at D/4 frequencies."""
    rate = 10_000 ** -(torch.arange(width // 4, dtype=torch.float64, device="cpu") / (width // 4 - 1))
    angle = torch.arange(side, dtype=torch.float64, device="cpu")[:, None] * rate  # [side, D/4]
    wave = torch.cat([angle.sin(), angle.cos()], 1)  # [side, D/2]
    column, row = wave.expand(side, side, -1), wave[:, None].expand(side, side, -1)
    return torch.cat([column, row], 2).reshape(1, side * side, width).float()


def resample_grid(table: Tensor, side: int, prefix: int) -> Tensor:
    """Resample tables [L, P+G*G, D] -> [L, P+side*side, D], bilinearly with aligned corners.

    Equal to ``scipy.ndimage.zoom(order=1)`` in vit_jax/checkpoint.py and big_vision/models/vit.py.
    """
    old = round((table.shape[1] - prefix) ** 0.5)
    grid = table[:, prefix:].float().unflatten(1, (old, old)).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, (side, side), mode="bilinear", align_corners=True)
    return torch.cat([table[:, :prefix], grid.flatten(2).transpose(1, 2)], 1)


def resample_line(table: Tensor, rows: int) -> Tensor:
    """Resample tables along one axis [L, n, D] -> [L, rows, D], linearly with aligned ends."""
    columns = table.float().transpose(1, 2)
    return functional.interpolate(columns, rows, mode="linear", align_corners=True).transpose(1, 2)
