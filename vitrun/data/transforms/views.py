"""The views of training and test images: uint8 pixels -> [B, 3, R, R], float32 in [-1, 1] or uint8 before scaling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import floor, log

import numpy as np
import torch
from torch import Tensor

from vitrun.data.transforms.resize import Regions, resample, to_floats, with_full_frames
from vitrun.errors import UserError
from vitrun.runtime import random

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


@dataclass(frozen=True)
class CropView:
    """A random crop, mirrored with probability 1/2 if ``flip``, then augmented in turn."""

    res: int
    crop: str
    area: tuple[float, float]
    flip: bool
    seed: int
    antialias: bool = True
    augment: Sequence[Callable[[Tensor, int, np.ndarray], None]] = ()  # each changes [B, 3, R, R] in place
    interpolation: str = "bilinear"
    levels: bool = False  # whether views whose values are integers are uint8, to be scaled on the device

    def __call__(
        self, pixels: Tensor | Sequence[Tensor], epoch: int, indices: np.ndarray, out: Tensor | None = None
    ) -> Tensor:
        """Return the views: uint8 [B, 3, H, W] or B images [3, h, w] -> [B, 3, R, R].

        Each is a function of its image and (seed, epoch, index).
        """
        regions = self.regions(image_sizes(pixels), epoch, indices)
        out = allocate_views(len(pixels), self.res, self.levels) if out is None else out
        images = resample(pixels, regions, self.res, out, self.antialias, self.interpolation)
        for augment in self.augment:
            augment(images, epoch, indices)
        return images

    def regions(self, sides: np.ndarray, epoch: int, indices: np.ndarray) -> Regions:
        """Return the parts of images that become their views, by their height and width [B, 2]."""
        numbers = random.uniform(self.seed, "view", epoch, indices, NUMBERS_PER_CROP)
        boxes, frames = CROPS[self.crop](numbers, sides, self.area, self.res)
        return Regions(boxes, frames, (numbers[:, -1] < 0.5) & self.flip)


@dataclass(frozen=True)
class CenterCropView:
    """The central ``res`` by ``res`` pixels of the resized image, a share ``crop`` of its shorter side.

    ``resize`` is a key of ``FRAMES``, which says what is resized to what; raise a UserError for rectangles. With
    ``small_area`` each pixel is the mean of the area that it covers, as in big_vision's ``resize_small``; with the
    others it is interpolated.
    """

    res: int
    crop: float = 1.0
    resize: str = "square"
    antialias: bool = True
    interpolation: str = "bilinear"
    fill: tuple[int, int, int] = (128, 128, 128)  # red, green and blue around an image that is smaller than the view
    levels: bool = False  # whether views whose values are integers are uint8, to be scaled on the device

    def __post_init__(self) -> None:
        if self.resize not in FRAMES:
            why = "is for detectors, in eval and predict: take square, or another way to resize."
            raise UserError(why, option="view.resize", value=self.resize)

    def __call__(self, pixels: Tensor | Sequence[Tensor], out: Tensor | None = None) -> Tensor:
        """Return the views: uint8 [B, 3, H, W] or B images [3, h, w] -> [B, 3, R, R]."""
        regions = self.regions(image_sizes(pixels))
        out = allocate_views(len(pixels), self.res, self.levels) if out is None else out
        frames = regions.frames
        method = "area" if self.resize == "small_area" else self.interpolation
        if self.resize in TIMM_FRAMES and self.antialias:
            method = f"pil_{method}"
        images = resample(pixels, regions, self.res, out, self.antialias, method)
        color = torch.tensor(self.fill, dtype=torch.uint8).view(3, 1, 1)
        color = color if images.dtype == torch.uint8 else to_floats(color)
        for row in np.flatnonzero((frames[:, 2:] < 0).any(1) | (frames[:, :2] < frames[:, 2:] + self.res).any(1)):
            fill_border(images[row], frames[row], color)
        return images

    def regions(self, sides: np.ndarray) -> Regions:
        """Return the parts of images that become their views, by their height and width [B, 2]."""
        frames = FRAMES[self.resize](sides, self.res, self.crop)
        return Regions(whole_image_boxes(sides), frames, np.zeros(len(sides), bool))


def allocate_views(number: int, res: int, levels: bool) -> Tensor:
    """Return memory for ``number`` views: uint8 [B, 3, R, R] if they are ``levels``, else float32.

    NumPy allocates huge pages: otherwise mapping the new memory of a batch takes as long as resizing its images.
    """
    return torch.from_numpy(np.empty((number, 3, res, res), np.uint8 if levels else np.float32))


def fill_border(image: Tensor, frame: np.ndarray, color: Tensor) -> None:
    """Fill what lies outside of the resized image with ``color`` [3, 1, 1], in place: [3, R, R]."""
    height, width, top, left = frame.tolist()
    image[:, : max(-top, 0)] = color
    image[:, height - top :] = color
    image[:, :, : max(-left, 0)] = color
    image[:, :, width - left :] = color


def frame_square(sides: np.ndarray, res: int, crop: float) -> np.ndarray:
    """Return frames of images squashed to a square: [B, 2] -> [B, 4]."""
    resized = np.full_like(sides, round(res / crop))
    return np.concatenate([resized, (resized - res) // 2], 1)


def frame_small(sides: np.ndarray, res: int, crop: float) -> np.ndarray:
    """Return frames of images whose shorter side is resized, in float32 as big_vision's ``resize_small``."""
    ratio = np.float32(round(res / crop)) / sides.min(1, keepdims=True).astype(np.float32)
    resized = np.rint(sides.astype(np.float32) * ratio).astype(np.int64)
    return np.concatenate([resized, (resized - res) // 2], 1)


def frame_shortest_edge(sides: np.ndarray, res: int, crop: float) -> np.ndarray:
    """Return frames of images whose shorter side is resized as transformers does: every fraction is cut off."""
    shorter = floor(res / crop)
    resized = shorter * sides // sides.min(1, keepdims=True)
    return np.concatenate([resized, (resized - res) // 2], 1)


def frame_shortest(sides: np.ndarray, res: int, crop: float) -> np.ndarray:
    """Return frames of images whose shorter side is resized, as torchvision's Resize and CenterCrop: timm's view."""
    resized = frame_shortest_edge(sides, res, crop)[:, :2]
    return np.concatenate([resized, np.rint((resized - res) / 2).astype(np.int64)], 1)


def frame_squash(sides: np.ndarray, res: int, crop: float) -> np.ndarray:
    """Return frames of images squashed to a square, as timm with ``crop_mode="squash"``."""
    resized = np.full_like(sides, floor(res / crop))
    return np.concatenate([resized, np.rint((resized - res) / 2).astype(np.int64)], 1)


def frame_border(sides: np.ndarray, res: int, crop: float) -> np.ndarray:
    """Return frames of images whose longer side is resized, as timm with ``crop_mode="border"``."""
    ratio = (sides / floor(res / crop)).max(1, keepdims=True)
    resized = np.rint(sides / ratio).astype(np.int64)
    room = resized - res
    return np.concatenate([resized, np.where(room < 0, -(-room // 2), np.rint(room / 2)).astype(np.int64)], 1)


Frame = Callable[[np.ndarray, int, float], np.ndarray]  # sides [B, 2], res and share -> the frames of ``Regions``
TIMM_FRAMES: dict[str, Frame] = {"shortest": frame_shortest, "squash": frame_squash, "border": frame_border}
FRAMES = TIMM_FRAMES | {
    "square": frame_square,
    "small": frame_small,
    "small_area": frame_small,
    "shortest_edge": frame_shortest_edge,
}


def image_sizes(pixels: Tensor | Sequence[Tensor]) -> np.ndarray:
    """Return the height and width of each image: [B, 2]."""
    if isinstance(pixels, Tensor):
        return np.tile(pixels.shape[2:], (len(pixels), 1))
    return np.array([image.shape[1:] for image in pixels])


def whole_image_boxes(sides: np.ndarray) -> np.ndarray:
    """Return boxes of the whole images: [B, 2] -> [B, 4]."""
    return np.concatenate([np.zeros_like(sides), sides], 1)


def inception_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes of uniform aspect, and uniform height among those of an area in range: small ones more often.

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
    heights += (
        heights * np.rint(heights * aspect) < least
    )  # out of range by rounding: one row more, or less, may be in it
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
    """Return boxes of uniform area and log-uniform aspect, as torchvision's RandomResizedCrop."""
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
    """Return height and width [B] of the first of [B, CROP_TRIES] that is in range and fits; else of the image."""
    fits = in_range & (heights <= sides[:, :1]) & (widths <= sides[:, 1:]) & (heights > 0) & (widths > 0)
    rows, first, any_fits = np.arange(len(sides)), fits.argmax(1), fits.any(1)
    height = np.where(any_fits, heights[rows, first], sides[:, 0])
    return height, np.where(any_fits, widths[rows, first], sides[:, 1])


def pad_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes as large as the image, shifted by up to an eighth of it; outside, its edge is repeated."""
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
