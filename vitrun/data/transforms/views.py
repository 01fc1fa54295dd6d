"""Views of training and test images: uint8 pixels -> [B, 3, R, R], float32 in [-1, 1] or uint8 before scaling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
import torch
from torch import Tensor

from vitrun.data.transforms.crops import CROPS, NUMBERS_PER_CROP, whole_image_boxes
from vitrun.data.transforms.resize import Regions, resample, to_floats
from vitrun.errors import UserError
from vitrun.runtime import random


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
        """Return which part of each image becomes its view, from heights and widths [B, 2]."""
        numbers = random.uniform(self.seed, "view", epoch, indices, NUMBERS_PER_CROP)
        boxes, frames = CROPS[self.crop](numbers, sides, self.area, self.res)
        return Regions(boxes, frames, (numbers[:, -1] < 0.5) & self.flip)


@dataclass(frozen=True)
class CenterCropView:
    """The central ``res`` by ``res`` pixels of the resized image, a share ``crop`` of its shorter side.

    ``resize`` is a key of ``FRAMES``, which defines the size of the resized image; raise a UserError for rectangles.
    With ``small_area`` each pixel is the mean of the area that it covers, as in big_vision's ``resize_small``; the
    others interpolate.
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
        """Return which part of each image becomes its view, from heights and widths [B, 2]."""
        frames = FRAMES[self.resize](sides, self.res, self.crop)
        return Regions(whole_image_boxes(sides), frames, np.zeros(len(sides), bool))


def allocate_views(number: int, res: int, levels: bool) -> Tensor:
    """Return memory for ``number`` views: uint8 [B, 3, R, R] if they are ``levels``, else float32.

    NumPy allocates huge pages: otherwise mapping the new memory of a batch takes as long as resizing its images.
    """
    return torch.from_numpy(np.empty((number, 3, res, res), np.uint8 if levels else np.float32))


def fill_border(image: Tensor, frame: np.ndarray, color: Tensor) -> None:
    """Fill the pixels outside of the resized image with ``color`` [3, 1, 1], in place: [3, R, R]."""
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
    """Return frames of images whose shorter side is resized as in transformers: sizes are rounded down."""
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
