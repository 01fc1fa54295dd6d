"""The fourteen operations of ``torchvision.transforms.v2.RandAugment``, the identity among them.

Interpolation is nearest and the fill black, as by its defaults; magnitudes are 0 to 30. An operation takes pixels
[3, R, R], a magnitude and three random numbers in [0, 1): its sign, and two that are not used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import atan, degrees

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

MAX_MAGNITUDE = 30


def shear_and_shift(image: Tensor, shear: list[float], shift: list[int], center: list[float] | None) -> Tensor:
    """Shear by degrees and shift by pixels."""
    return functional.affine(image, 0.0, shift, 1.0, shear, center=center)


@dataclass(frozen=True)
class Operation:
    """Apply ``function`` with a strength between ``least`` and ``most``, of ``either`` sign if set."""

    function: Callable[[Tensor, float], Tensor]
    least: float
    most: float
    either: bool

    def __call__(self, image: np.ndarray, magnitude: int, sign: float, *_: float) -> np.ndarray:
        """Return the image after the operation: uint8 [3, R, R]."""
        strength = float(torch.linspace(self.least, self.most, MAX_MAGNITUDE + 1)[magnitude])
        strength = -strength if self.either and sign <= 0.5 else strength
        return self.function(torch.from_numpy(image), strength).numpy()


def translate(along: int, image: Tensor, strength: float) -> Tensor:
    """Shift by a share of the side."""
    shift = [0, 0]
    shift[along] = int(strength * image.shape[-1])
    return shear_and_shift(image, [0.0, 0.0], shift, None)


def posterize(image: Tensor, strength: float) -> Tensor:
    """Keep the upper ``strength`` bits, rounded."""
    return functional.posterize(image, int(torch.tensor(strength).round()))


OPERATIONS = (
    Operation(lambda image, s: image, 0, 0, False),
    Operation(lambda image, s: shear_and_shift(image, [degrees(atan(s)), 0.0], [0, 0], [0, 0]), 0, 0.3, True),
    Operation(lambda image, s: shear_and_shift(image, [0.0, degrees(atan(s))], [0, 0], [0, 0]), 0, 0.3, True),
    Operation(partial(translate, 0), 0, 150 / 331, True),
    Operation(partial(translate, 1), 0, 150 / 331, True),
    Operation(functional.rotate, 0, 30, True),
    Operation(lambda image, s: functional.adjust_brightness(image, 1 + s), 0, 0.9, True),
    Operation(lambda image, s: functional.adjust_saturation(image, 1 + s), 0, 0.9, True),
    Operation(lambda image, s: functional.adjust_contrast(image, 1 + s), 0, 0.9, True),
    Operation(lambda image, s: functional.adjust_sharpness(image, 1 + s), 0, 0.9, True),
    Operation(posterize, 8, 4, False),
    Operation(lambda image, s: functional.solarize(image, 255 * s), 1, 0, False),
    Operation(lambda image, s: functional.autocontrast(image), 0, 0, False),
    Operation(lambda image, s: functional.equalize(image), 0, 0, False),
)
