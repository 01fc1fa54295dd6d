"""Random erasing (arXiv 1708.04896) as torchvision's: a rectangle of an image is set to the mean grey."""

from dataclasses import dataclass
from math import log

import numpy as np
from torch import Tensor

from vitrun.runtime import random

AREA = (0.02, 0.33)  # share of the image, uniform: the default of torchvision.transforms.v2.RandomErasing
ASPECT = (0.3, 3.3)  # height by width, log-uniform: its default too
TRIES = 10  # tries for a rectangle that is smaller than the image, before it is left as it is
NUMBERS_PER_TRY = 4  # random numbers: area, aspect, top, left


@dataclass(frozen=True)
class RandomErasing:
    """Erase a random rectangle of an image with a ``probability``."""

    probability: float
    seed: int

    def __call__(self, images: Tensor, epoch: int, indices: np.ndarray) -> None:
        """Erase in [B, 3, H, W] in place, to 0: the middle of [-1, 1]; a function of (seed, epoch, index)."""
        numbers = random.uniform(self.seed, "erasing", epoch, indices, 1 + NUMBERS_PER_TRY * TRIES)
        boxes, fitting = choose_rectangles(numbers[:, 1:].reshape(-1, TRIES, NUMBERS_PER_TRY), *images.shape[2:])
        for image in np.flatnonzero(fitting & (numbers[:, 0] < self.probability)):
            top, left, height, width = boxes[image].tolist()
            images[image, :, top : top + height, left : left + width] = 0


def choose_rectangles(numbers: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first rectangle that fits, [B, 4] (top, left, height, width), and whether there is one, [B].

    ``numbers`` [B, TRIES, 4] are in [0, 1).
    """
    area = height * width * (AREA[0] + numbers[..., 0] * (AREA[1] - AREA[0]))
    aspect = np.exp(log(ASPECT[0]) + numbers[..., 1] * (log(ASPECT[1]) - log(ASPECT[0])))
    heights, widths = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    tops, lefts = (
        np.floor(numbers[..., 2 + i] * room) for i, room in enumerate((height - heights + 1, width - widths + 1))
    )
    fits: np.ndarray = (heights < height) & (widths < width)
    rows, first = np.arange(len(numbers)), fits.argmax(1)
    return np.stack([tops, lefts, heights, widths], 2)[rows, first].astype(np.int64), np.asarray(fits.any(1))
