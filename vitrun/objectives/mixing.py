"""Mix each image of a batch with a partner, the one before it: mixup and CutMix."""

from dataclasses import dataclass
from math import sqrt

from numpy.random import Generator
from torch import Tensor


@dataclass(frozen=True)
class Blend:
    """Mixup: the weighted mean of two images."""

    share: float  # weight of an image itself

    def __call__(self, images: Tensor, partners: Tensor) -> Tensor:
        """Return images [B, 3, H, W] blended with their partners."""
        return images.lerp(partners, 1 - self.share)


@dataclass(frozen=True)
class Paste:
    """CutMix: an image with a box of another."""

    share: float  # of the pixels that are the image's own
    rows: slice
    columns: slice

    def __call__(self, images: Tensor, partners: Tensor) -> Tensor:
        """Return images [B, 3, H, W] with the box of their partners."""
        mixed = images.clone()
        mixed[:, :, self.rows, self.columns] = partners[:, :, self.rows, self.columns]
        return mixed


def draw_blend(a: float, generator: Generator) -> Blend:
    """Return the mixup of a batch.

    One share a batch, the larger of l and 1 - l with l from Beta(a, a) (big_vision/utils.py, ``get_mixup``).
    """
    drawn = generator.beta(a, a)
    return Blend(max(drawn, 1 - drawn))


def draw_paste(height: int, width: int, a: float, generator: Generator) -> Paste:
    """Return the CutMix of a batch of images.

    As ``torchvision.transforms.v2.CutMix`` (arXiv 1905.04899): one box a batch, its area 1 - l of the image with l from
    Beta(a, a), its center uniform; what lies outside the image is cut off, and the share is that of the rest.
    """
    radius = 0.5 * sqrt(1 - generator.beta(a, a))
    column, row = int(generator.integers(width)), int(generator.integers(height))
    left, right = max(column - int(radius * width), 0), min(column + int(radius * width), width)
    top, bottom = max(row - int(radius * height), 0), min(row + int(radius * height), height)
    share = 1 - (right - left) * (bottom - top) / (width * height)
    return Paste(share, slice(top, bottom), slice(left, right))
