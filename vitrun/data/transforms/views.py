"""What a training image and a test image look like: uint8 pixels in, [B, 3, R, R] in [-1, 1] out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import log

import numpy as np
from torch import Tensor

from vitrun.data.transforms.resize import resample, with_full_frames
from vitrun.runtime import random

CROP_TRIES = 10  # for a crop that fits, before the whole image is taken
INCEPTION_ASPECT = (0.75, 1.33)  # width by height: the defaults of TensorFlow's sample_distorted_bounding_box
TORCHVISION_ASPECT = (3 / 4, 4 / 3)  # those of torchvision's RandomResizedCrop (arXiv 1409.4842, section 6)
ROUNDING = 0.5 - 1e-7  # of a width, which still becomes that of the image
# Of each side, what a square crop keeps: 384 pixels of 448, of images under 96 by 96 128 of 160 (arXiv 1912.11370,
# section 3.3)
SQUARE_SHARE, SMALL_SQUARE_SHARE = 384 / 448, 128 / 160
PAD_SHARE = 1 / 8  # of the side, by which a pad crop may shift the image: 4 pixels of 32
NUMBERS_PER_CROP = 2 * CROP_TRIES + 3  # drawn for each image: aspect and size for every try, two places, one flip


@dataclass(frozen=True)
class CropView:
    """A random crop, with ``flip`` a mirror image every other time, then what ``augment`` makes of it."""

    res: int
    crop: str
    area: tuple[float, float]
    flip: bool
    seed: int
    antialias: bool = True
    augment: Callable[[Tensor, int, np.ndarray], None] | None = None  # changes [B, 3, R, R] in [-1, 1] where it lies

    def __call__(
        self, pixels: Tensor | Sequence[Tensor], epoch: int, indices: np.ndarray, out: Tensor | None = None
    ) -> Tensor:
        """[B, 3, H, W] or B of [3, h, w], uint8 -> [B, 3, R, R] float32; drawn from (seed, epoch, index)."""
        numbers = random.uniform(self.seed, "view", epoch, indices, NUMBERS_PER_CROP)
        boxes, frames = CROPS[self.crop](numbers, image_sizes(pixels), self.area, self.res)
        flips = (numbers[:, -1] < 0.5) & self.flip
        images = resample(pixels, boxes, flips, self.res, out, self.antialias, frames)
        if self.augment is not None:
            self.augment(images, epoch, indices)
        return images


@dataclass(frozen=True)
class CenterCropView:
    """The image resized, of which the centre ``res`` by ``res`` is kept: ``crop`` of the shorter resized side.

    ``square`` squashes to a square; ``small`` keeps the aspect, and ``small_area`` takes the mean over the area of each
    pixel then, as big_vision's ``resize_small``.
    """

    res: int
    crop: float = 1.0
    resize: str = "square"
    antialias: bool = True

    def __call__(self, pixels: Tensor | Sequence[Tensor], out: Tensor | None = None) -> Tensor:
        """[B, 3, H, W] or B of [3, h, w], uint8 -> [B, 3, R, R] float32."""
        sides = image_sizes(pixels)
        shorter = round(self.res / self.crop)
        resized = np.full_like(sides, shorter)
        if self.resize != "square":
            resized = np.rint(sides * (shorter / sides.min(1, keepdims=True))).astype(np.int64)
        frames = np.concatenate([resized, (resized - self.res) // 2], 1)
        area, flips = self.resize == "small_area", np.zeros(len(sides), bool)
        return resample(pixels, whole_image_boxes(sides), flips, self.res, out, self.antialias, frames, area)


def image_sizes(pixels: Tensor | Sequence[Tensor]) -> np.ndarray:
    """The height and width of each image: [B, 2]."""
    if isinstance(pixels, Tensor):
        return np.tile(pixels.shape[2:], (len(pixels), 1))
    return np.array([image.shape[1:] for image in pixels])


def whole_image_boxes(sides: np.ndarray) -> np.ndarray:
    """The whole image as a box: [B, 2] -> [B, 4]."""
    return np.concatenate([np.zeros_like(sides), sides], 1)


def inception_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of a uniform aspect and a uniform height among those whose area is right: small ones more often.

    The law of TensorFlow's ``sample_distorted_bounding_box``, its rounding and its places included: the last row and
    the last column that a box might begin at are never drawn. It tries 100 times where we do TRIES.
    """
    low, high = INCEPTION_ASPECT
    least, most = (share * sides.prod(1, keepdims=True) for share in area)
    aspect = low + numbers[:, CROP_TRIES : 2 * CROP_TRIES] * (high - low)  # [B, TRIES]
    tallest = np.minimum(np.rint(np.sqrt(most / aspect)), np.floor((sides[:, 1:] + ROUNDING) / aspect))
    tallest = np.minimum(tallest, sides[:, :1])
    shortest = np.minimum(np.rint(np.sqrt(least / aspect)), tallest)
    heights = shortest + np.floor(numbers[:, :CROP_TRIES] * (tallest - shortest + 1))
    heights += heights * np.rint(heights * aspect) < least  # by rounding: a row more, or less, may do
    heights -= heights * np.rint(heights * aspect) > most
    widths = np.rint(heights * aspect)
    right = (heights * widths >= least) & (heights * widths <= most)
    height, width = first_that_fits(heights, widths, right, sides)
    room = np.maximum(sides - np.stack([height, width], 1), 1)
    return with_full_frames(
        np.concatenate([np.floor(numbers[:, -3:-1] * room), height[:, None], width[:, None]], 1), res
    )


def random_resized_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (top, left, height, width) of a uniform share of the area and a log-uniform aspect: torchvision's law."""
    low, high = log(TORCHVISION_ASPECT[0]), log(TORCHVISION_ASPECT[1])
    share = area[0] + numbers[:, :CROP_TRIES] * (area[1] - area[0])  # [B, TRIES]
    aspect = np.exp(low + numbers[:, CROP_TRIES : 2 * CROP_TRIES] * (high - low))
    surface = share * sides.prod(1, keepdims=True)
    heights, widths = np.rint(np.sqrt(surface / aspect)), np.rint(np.sqrt(surface * aspect))
    height, width = first_that_fits(heights, widths, np.ones_like(heights, bool), sides)
    top = np.floor(numbers[:, -3] * (sides[:, 0] - height + 1))
    left = np.floor(numbers[:, -2] * (sides[:, 1] - width + 1))
    return with_full_frames(np.stack([top, left, height, width], 1), res)


def first_that_fits(
    heights: np.ndarray, widths: np.ndarray, right: np.ndarray, sides: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Height and width [B] of the first try [B, TRIES] that is ``right`` and fits; of the whole image where none is."""
    fits = right & (heights <= sides[:, :1]) & (widths <= sides[:, 1:]) & (heights > 0) & (widths > 0)
    rows, first, found = np.arange(len(sides)), fits.argmax(1), fits.any(1)
    return np.where(found, heights[rows, first], sides[:, 0]), np.where(found, widths[rows, first], sides[:, 1])


def pad_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes as large as the image, shifted by up to an eighth of it; what lies outside repeats the edge."""
    most = np.rint(PAD_SHARE * sides)
    shifts = np.floor(numbers[:, -3:-1] * (2 * most + 1)) - most
    return with_full_frames(np.concatenate([shifts, sides], 1), res)


def square_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int, share: float = SQUARE_SHARE
) -> tuple[np.ndarray, np.ndarray]:
    """The whole image squashed to a square of which ``share`` of each side is cut out at random."""
    side = round(res / share)
    places = np.minimum(np.floor(numbers[:, -3:-1] * (side - res + 1)), side - res)
    return whole_image_boxes(sides), np.concatenate([np.full_like(sides, side), places.astype(np.int64)], 1)


def no_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int
) -> tuple[np.ndarray, np.ndarray]:
    """The whole image."""
    return with_full_frames(whole_image_boxes(sides), res)


# From numbers [B, NUMBERS] and sides [B, 2] to boxes and frames, as ``resample`` takes them.
CROPS = {
    "inception": inception_crop,
    "random_resized": random_resized_crop,
    "pad": pad_crop,
    "square": square_crop,
    "small_square": partial(square_crop, share=SMALL_SQUARE_SHARE),
    "none": no_crop,
}
