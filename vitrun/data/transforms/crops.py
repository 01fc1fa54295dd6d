"""Random crops of training images: which part of an image becomes its view."""

from collections.abc import Callable
from functools import partial
from math import log

import numpy as np

from vitrun.data.transforms.resize import with_full_frames

CROP_TRIES = 10  # tries for a crop that fits, before the whole image is used
INCEPTION_ASPECT = (0.75, 1.33)  # width by height: the defaults of TensorFlow's sample_distorted_bounding_box
TORCHVISION_ASPECT = (3 / 4, 4 / 3)  # of torchvision's RandomResizedCrop (arXiv 1409.4842, section 6)
ROUNDING = 0.5 - 1e-7  # added to the image's width, so that a crop of that width after rounding is possible
# The share of each side that a square crop keeps: 384 of 448 pixels; for images below 96 by 96, 128 of 160
# (arXiv 1912.11370, section 3.3)
SQUARE_SHARE, SMALL_SQUARE_SHARE = 384 / 448, 128 / 160
PAD_SHARE = 1 / 8  # of the side, the maximum shift of a pad crop: 4 of 32 pixels
# Random numbers [B, NUMBERS_PER_CROP], sides [B, 2], area and res -> boxes and frames of ``Regions``
Crop = Callable[[np.ndarray, np.ndarray, tuple[float, float], int], tuple[np.ndarray, np.ndarray]]
NUMBERS_PER_CROP = 2 * CROP_TRIES + 3  # random numbers: aspect and size of every try, two offsets, one flip


def whole_image_boxes(sides: np.ndarray) -> np.ndarray:
    """Return boxes of the whole images: [B, 2] -> [B, 4]."""
    return np.concatenate([np.zeros_like(sides), sides], 1)


def inception_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes of uniform aspect ratio, and of uniform height within the range of areas: small ones more often.

    The distribution is that of TensorFlow's ``sample_distorted_bounding_box`` with its rounding and offsets: the last
    possible top and left are never drawn. TensorFlow tries 100 times, this function CROP_TRIES.
    """
    low, high = INCEPTION_ASPECT
    least, most = (share * sides.prod(1, keepdims=True) for share in area)
    aspect = low + numbers[:, CROP_TRIES : 2 * CROP_TRIES] * (high - low)  # [B, TRIES]
    tallest = np.minimum(np.rint(np.sqrt(most / aspect)), np.floor((sides[:, 1:] + ROUNDING) / aspect))
    tallest = np.minimum(tallest, sides[:, :1])
    shortest = np.minimum(np.rint(np.sqrt(least / aspect)), tallest)
    heights = shortest + np.floor(numbers[:, :CROP_TRIES] * (tallest - shortest + 1))
    # Rounding may leave a crop out of range that one row more, or one less, brings into it.
    heights += heights * np.rint(heights * aspect) < least
    heights -= heights * np.rint(heights * aspect) > most
    widths = np.rint(heights * aspect)
    in_range = (heights * widths >= least) & (heights * widths <= most)
    height, width = first_that_fits(heights, widths, in_range, sides)
    room = np.maximum(sides - np.stack([height, width], 1), 1)
    return with_full_frames(
        np.concatenate([np.floor(numbers[:, -3:-1] * room), height[:, None], width[:, None]], 1), res
    )


def random_resized_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes of uniform area and log-uniform aspect ratio, as torchvision's RandomResizedCrop."""
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
    heights: np.ndarray, widths: np.ndarray, in_range: np.ndarray, sides: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return height and width [B] of the first try that is in range and fits; if none does, those of the image."""
    fits = in_range & (heights <= sides[:, :1]) & (widths <= sides[:, 1:]) & (heights > 0) & (widths > 0)
    rows, first, any_fits = np.arange(len(sides)), fits.argmax(1), fits.any(1)
    height = np.where(any_fits, heights[rows, first], sides[:, 0])
    return height, np.where(any_fits, widths[rows, first], sides[:, 1])


def pad_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes of the size of the image, shifted by up to an eighth of it; the edge is repeated outside."""
    most = np.rint(PAD_SHARE * sides)
    shifts = np.floor(numbers[:, -3:-1] * (2 * most + 1)) - most
    return with_full_frames(np.concatenate([shifts, sides], 1), res)


def square_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int, share: float = SQUARE_SHARE
) -> tuple[np.ndarray, np.ndarray]:
    """Return the whole images, squashed to a square from which a random crop cuts ``share`` of each side."""
    side = round(res / share)
    places = np.minimum(np.floor(numbers[:, -3:-1] * (side - res + 1)), side - res)
    return whole_image_boxes(sides), np.concatenate([np.full_like(sides, side), places.astype(np.int64)], 1)


def no_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the whole images."""
    return with_full_frames(whole_image_boxes(sides), res)


CROPS: dict[str, Crop] = {
    "inception": inception_crop,
    "random_resized": random_resized_crop,
    "pad": pad_crop,
    "square": square_crop,
    "small_square": partial(square_crop, share=SMALL_SQUARE_SHARE),
    "none": no_crop,
}
