"""Mix each image of a batch with the one before it: mixup and CutMix."""

from math import sqrt

from numpy.random import Generator
from torch import Tensor


def blend_images(images: Tensor, a: float, generator: Generator) -> tuple[Tensor, float]:
    """Return images [B, 3, R, R] blended with those before them, and the share of their own pixels (mixup).

    One share a batch, the larger of l and 1 - l with l from Beta(a, a) (big_vision/utils.py, ``get_mixup``).
    """
    drawn = generator.beta(a, a)
    share = max(drawn, 1 - drawn)
    return images.lerp(images.roll(1, 0), 1 - share), share


def paste_images(images: Tensor, a: float, generator: Generator) -> tuple[Tensor, float]:
    """Return images [B, 3, H, W] with a box of those before them, and the share of their own pixels (CutMix).

    As ``torchvision.transforms.v2.CutMix`` (arXiv 1905.04899): one box a batch, its area 1 - l of the image with l from
    Beta(a, a), its center uniform; what lies outside the image is cut off, and the share is that of the rest.
    """
    height, width = images.shape[2:]
    radius = 0.5 * sqrt(1 - generator.beta(a, a))
    column, row = int(generator.integers(width)), int(generator.integers(height))
    left, right = max(column - int(radius * width), 0), min(column + int(radius * width), width)
    top, bottom = max(row - int(radius * height), 0), min(row + int(radius * height), height)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images.roll(1, 0)[:, :, top:bottom, left:right]
    return mixed, 1 - (right - left) * (bottom - top) / (width * height)
