"""Many small images in one: tiles in rows and columns with gaps between them, and the pictures that they are of."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from vitrun.plots.style import SEQUENTIAL


def join_tiles(tiles: np.ndarray, gap: int) -> np.ndarray:
    """Return tiles [rows, columns, h, w, 4] as one image [H, W, 4], transparent in the ``gap`` pixels between them."""
    rows, columns, height, width, channels = tiles.shape
    image = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), tiles.dtype)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + gap), column * (width + gap)
            image[top : top + height, left : left + width] = tiles[row, column]
    return image


def show_tiles(axes: Axes, tiles: np.ndarray, gap: int, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Draw tiles [rows, columns, h, w, 4] on axes, with a label at each row and column that has one."""
    height, width = tiles.shape[2:4]
    axes.imshow(join_tiles(tiles, gap), interpolation="nearest")
    axes.set_xticks([column * (width + gap) + width / 2 - 0.5 for column in range(len(columns))], columns)
    axes.set_yticks([row * (height + gap) + height / 2 - 0.5 for row in range(len(rows))], rows)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def color_values(values: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """Return values [...] as colours [..., 4] uint8 of the sequential map, from ``low`` to ``high``."""
    spread = np.maximum(np.asarray(high, float) - low, np.finfo(float).tiny)
    return matplotlib.colormaps[SEQUENTIAL](np.clip((values - low) / spread, 0, 1), bytes=True)


def with_alpha(pixels: np.ndarray) -> np.ndarray:
    """Return pixels [..., 3] uint8 as [..., 4], opaque."""
    return np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], -1)


def enlarge(tiles: np.ndarray, side: int) -> np.ndarray:
    """Return tiles [..., h, w, channels], each pixel as a square, at least ``side`` pixels high and wide."""
    times = -(-side // min(tiles.shape[-3:-1]))
    return tiles.repeat(times, -3).repeat(times, -2)


def resize_smoothly(values: np.ndarray, side: int) -> np.ndarray:
    """Return values [h, w] resized to [side, side] by Lanczos' filter."""
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize((side, side), Image.Resampling.LANCZOS))


def resize_pixels(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return pixels [h, w, 3] uint8 resized to [side, side, 3]."""
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))
