"""RandAugment (arXiv 1909.13719) as in two libraries: a few random operations for each image."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
import torch
from torch import Tensor

from vitrun.data.transforms.randaugment import big_vision
from vitrun.data.transforms.resize import scale_pixels
from vitrun.runtime import random

NUMBERS_PER_OPERATION = 4  # random numbers: the operation, its sign, the row and the column of its place


@dataclass(frozen=True)
class RandAugment:
    """``layers`` operations of ``library`` (``big_vision`` or ``torchvision``) at ``magnitude``."""

    library: str
    layers: int
    magnitude: int
    seed: int

    def __call__(self, images: Tensor, epoch: int, indices: np.ndarray) -> None:
        """Augment [B, 3, R, R] in place, uint8 or rounded to 8 bits in [-1, 1]; a function of (seed, epoch, index)."""
        operations = import_module(f"vitrun.data.transforms.randaugment.{self.library}").OPERATIONS
        numbers = random.uniform(self.seed, "randaugment", epoch, indices, NUMBERS_PER_OPERATION * self.layers)
        has_levels = images.dtype == torch.uint8
        levels = images.clone() if has_levels else images.mul(127.5).add_(127.5).round_().to(torch.uint8)
        pixels = levels.numpy()  # [B, 3, R, R]
        for image, target, draws in zip(pixels, images, numbers.reshape(-1, self.layers, NUMBERS_PER_OPERATION)):
            for which, *rest in draws.tolist():
                image = operations[int(which * len(operations))](image, self.magnitude, *rest)
            if has_levels:
                target.copy_(torch.from_numpy(image))
            else:
                scale_pixels(torch.from_numpy(image), target)


def explain_blank_images(library: str, layers: int, magnitude: int, res: int) -> str | None:
    """Return why some images of ``res`` pixels become blank, if an operation shifts them out of the frame."""
    shift = int(big_vision.MAX_SHIFT * magnitude / big_vision.FULL_MAGNITUDE)
    if library != "big_vision" or shift < res:
        return None
    share = 1 - (1 - len(big_vision.SHIFTS) / len(big_vision.OPERATIONS)) ** layers
    return (
        f"augment.randaugment=big_vision shifts by {shift} pixels at magnitude {magnitude}, whatever the size of an "
        f"image: at res={res}, {share:.0%} of the training images are blank. The distances of "
        "augment.randaugment=torchvision are shares of the image"
    )
