"""Views of test images for detectors: whole images that keep their aspect ratio, padded to the largest of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vitrun.data.transforms.resize import scale_pixels
from vitrun.recipes.view import LONGEST, RECTANGLES


@dataclass(frozen=True)
class RectangleView:
    """Whole images with a shorter side of ``res`` pixels, or less if the longer one would be more than ``longest``.

    Sides are multiples of ``RECTANGLES[resize]``.
    """

    res: int
    resize: str = "rectangle"
    antialias: bool = True
    interpolation: str = "bilinear"
    fill: tuple[int, int, int] = (128, 128, 128)  # red, green and blue of the padding

    @property
    def longest(self) -> int:
        """Return the largest number of pixels of the longer side: 1333 for ``res=800``."""
        return round(self.res * LONGEST)

    def measure(self, sides: np.ndarray) -> np.ndarray:
        """Return height and width of the views of images with ``sides`` [B, 2], rounded as in transformers: [B, 2]."""
        shorter, longer = sides.min(1), sides.max(1)
        is_long = longer / shorter * self.res > self.longest
        wanted = np.where(is_long, self.longest * shorter / longer, self.res)
        short = np.rint(wanted).astype(np.int64)
        multiple = RECTANGLES[self.resize]
        stays = (short == shorter) & ((multiple == 1) | (sides[:, 0] <= sides[:, 1]))  # YOLOS resizes upright ones
        long = np.where(stays, longer, np.floor(wanted * longer / shorter)).astype(np.int64)
        resized = np.where(sides == shorter[:, None], short[:, None], long[:, None])
        return np.maximum(resized - resized % multiple, multiple)

    def __call__(self, image: Tensor) -> Tensor:
        """Return the view of an image: uint8 [3, h, w] -> float32 [3, H, W] in [-1, 1]."""
        height, width = self.measure(np.array([image.shape[1:]]))[0].tolist()
        pixels = image[None].contiguous(memory_format=torch.channels_last)  # as ``resample_one``
        resized = functional.interpolate(pixels, (height, width), mode=self.interpolation, antialias=self.antialias)[0]
        view = torch.empty(3, height, width)
        scale_pixels(resized, view)
        return view

    def join(self, views: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return views [3, h, w] as a batch [B, 3, H, W], padded right and below, and the padding's mask [B, H, W]."""
        height, width = (max(view.shape[axis] for view in views) for axis in (1, 2))
        color = (torch.tensor(self.fill).view(3, 1, 1) - 127.5) / 127.5
        images, padding = color.repeat(len(views), 1, height, width), torch.ones(len(views), height, width).bool()
        for row, view in enumerate(views):
            images[row, :, : view.shape[1], : view.shape[2]] = view
            padding[row, : view.shape[1], : view.shape[2]] = False
        return images, padding
