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


def resample_rectangle(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Resample tables [L, h*w, D] of one grid to another, bicubically as YOLOS (its models/backbone.py)."""
    if old == new:
        return table
    maps = table.unflatten(1, old).permute(0, 3, 1, 2)
    return functional.interpolate(maps, new, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)


def sine_positions(visible: Tensor, width: int) -> Tensor:
    """Return DETR's fixed position embeddings [B, h*w, D] of feature maps, ``visible`` [B, h, w] outside of padding.

    Half of the features are of the row, half of the column, each counted without padding and scaled to 2 pi, at D/4
    frequencies with sine and cosine in turn (section 3.2; its models/position_encoding.py).
    """
    rate = 10_000 ** (-2 * torch.arange(width // 4, device=visible.device) / (width // 2))  # [D/4]
    waves = []
    for axis in (1, 2):
        place = visible.cumsum(axis, dtype=torch.float32)
        last = place.select(axis, -1).unsqueeze(axis)
        angle = (place / (last + 1e-6) * 2 * torch.pi)[..., None] * rate  # [B, h, w, D/4]
        waves.append(torch.stack([angle.sin(), angle.cos()], 4).flatten(3))
    return torch.cat(waves, 3).flatten(1, 2)
