"""What a training image and a test image look like: uint8 pixels in, [B, 3, R, R] in [-1, 1] out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import log

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vitrun import draws

TRIES = 10  # for an inception crop that fits, before the whole image is taken
ASPECT = (3 / 4, 4 / 3)  # of an inception crop (arXiv 1409.4842, section 6)
# Of each side, what a square crop keeps: 384 pixels of 448, of images under 96 by 96 128 of 160 (arXiv 1912.11370,
# section 3.3)
SQUARE, SMALL_SQUARE = 384 / 448, 128 / 160
PAD = 1 / 8  # of the side, by which a pad crop may shift the image: 4 pixels of 32
NUMBERS = 2 * TRIES + 3  # drawn for each image: area and aspect for every try, two places, one flip


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
        numbers = draws.uniform(self.seed, "view", epoch, indices, NUMBERS)
        sides = sizes(pixels)
        boxes = BOXES[self.crop](numbers, sides, self.area)
        flips = (numbers[:, -1] < 0.5) & self.flip
        images = resample(pixels, boxes, flips, self.res, out, self.antialias)
        if self.augment is not None:
            self.augment(images, epoch, indices)
        return images


@dataclass(frozen=True)
class WholeView:
    """The image resized, of which the centre ``res`` by ``res`` is kept: ``crop`` of the shorter resized side.

    ``square`` squashes to a square; ``small`` keeps the aspect, as big_vision's ``resize_small``, whose filter is an
    area mean where ours is bilinear.
    """

    res: int
    crop: float = 1.0
    resize: str = "square"
    antialias: bool = True

    def __call__(self, pixels: Tensor | Sequence[Tensor], out: Tensor | None = None) -> Tensor:
        """[B, 3, H, W] or B of [3, h, w], uint8 -> [B, 3, R, R] float32."""
        sides = sizes(pixels)
        shorter = round(self.res / self.crop)
        resized = np.full_like(sides, shorter)
        if self.resize == "small":
            resized = np.rint(sides * (shorter / sides.min(1, keepdims=True))).astype(np.int64)
        frames = np.concatenate([resized, (resized - self.res) // 2], 1)
        boxes = whole_boxes(sides, sides, (1.0, 1.0))
        return resample(pixels, boxes, np.zeros(len(sides), bool), self.res, out, self.antialias, frames)


def sizes(pixels: Tensor | Sequence[Tensor]) -> np.ndarray:
    """The height and width of each image: [B, 2]."""
    if isinstance(pixels, Tensor):
        return np.tile(pixels.shape[2:], (len(pixels), 1))
    return np.array([image.shape[1:] for image in pixels])


def inception_boxes(numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float]) -> np.ndarray:
    """Boxes (top, left, height, width) of a uniform share of the area and a log-uniform aspect: [B, 4]."""
    low, high = log(ASPECT[0]), log(ASPECT[1])
    share = area[0] + numbers[:, :TRIES] * (area[1] - area[0])  # [B, TRIES]
    aspect = np.exp(low + numbers[:, TRIES : 2 * TRIES] * (high - low))
    surface = share * sides.prod(1, keepdims=True)
    heights, widths = np.rint(np.sqrt(surface / aspect)), np.rint(np.sqrt(surface * aspect))
    fits = (heights <= sides[:, :1]) & (widths <= sides[:, 1:]) & (heights > 0) & (widths > 0)
    rows, first = np.arange(len(sides)), fits.argmax(1)
    found = fits.any(1)
    height = np.where(found, heights[rows, first], sides[:, 0])
    width = np.where(found, widths[rows, first], sides[:, 1])
    top = np.floor(numbers[:, -3] * (sides[:, 0] - height + 1))
    left = np.floor(numbers[:, -2] * (sides[:, 1] - width + 1))
    return np.stack([top, left, height, width], 1)


def pad_boxes(numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float]) -> np.ndarray:
    """Boxes as large as the image, shifted by up to an eighth of it; what lies outside repeats the edge: [B, 4]."""
    shifts = (numbers[:, -3:-1] * 2 - 1) * PAD * sides
    return np.concatenate([shifts, sides], 1)


def square_boxes(numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], kept: float = SQUARE) -> np.ndarray:
    """Boxes at a uniform place, as a crop of 384 from the image squashed to 448 by 448 sees it: [B, 4]."""
    places = numbers[:, -3:-1] * (1 - kept) * sides
    return np.concatenate([places, kept * sides], 1)


def whole_boxes(numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float]) -> np.ndarray:
    """The whole image: [B, 4]."""
    return np.concatenate([np.zeros_like(sides), sides], 1)


BOXES = {
    "inception": inception_boxes,
    "pad": pad_boxes,
    "square": square_boxes,
    "small_square": partial(square_boxes, kept=SMALL_SQUARE),
    "none": whole_boxes,
}


def resample(
    pixels: Tensor | Sequence[Tensor],
    boxes: np.ndarray,
    flips: np.ndarray,
    res: int,
    out: Tensor | None = None,
    antialias: bool = True,
    frames: np.ndarray | None = None,
) -> Tensor:
    """Bilinear: each box to [3, R, R], mirrored where ``flips``, scaled to [-1, 1].

    Without ``antialias`` a pixel is made of its four neighbours however much the image shrinks, as TensorFlow's
    ``resize`` does. ``frames`` [B, 4] is the height and width that a box is resized to, and the top and left of the
    [R, R] that is kept of that; none for all of R by R. Images of one size are resampled together, by two small
    matrices each; others one by one.
    """
    out = torch.empty(len(boxes), 3, res, res) if out is None else out
    frames = np.tile([res, res, 0, 0], (len(boxes), 1)) if frames is None else frames
    if isinstance(pixels, Tensor):
        high, wide = pixels.shape[2:]
        found = torch.from_numpy(weights(boxes, frames, flips, (high, wide), res, antialias))
        rows, columns = found[0, :, :, :high], found[1, :, :, :wide]  # [B, R, H], [B, R, W]
        narrow = pixels.float().flatten(1, 2) @ columns.mT  # [B, 3H, R]
        torch.matmul(rows[:, None], narrow.unflatten(1, (3, high)), out=out)  # [B, 3, R, R]
        scale(out, out)
    else:
        for image, box, frame, flip, place in zip(pixels, boxes, frames, flips, out):
            scale(resample_one(image, box, frame, flip, res, antialias), place)
    return out


def scale(images: Tensor, out: Tensor) -> None:
    """Write values from 0 to 255 as -1 to 1."""
    torch.sub(images, 127.5, out=out).div_(127.5)


def resample_one(image: Tensor, box: np.ndarray, frame: np.ndarray, flip: bool, res: int, antialias: bool) -> Tensor:
    """One image [3, h, w] to [3, R, R], uint8."""
    top, left, height, width = (int(round(side)) for side in box)
    top, left = max(top, 0), max(left, 0)
    cut = image[None, :, top : top + height, left : left + width]
    cut = cut.contiguous(memory_format=torch.channels_last)  # as decoders leave pixels: else torch works plane by plane
    height, width, top, left = frame.tolist()
    out = functional.interpolate(cut, (height, width), mode="bilinear", antialias=antialias)[0]
    out = out[:, top : top + res, left : left + res]
    return out.flip(2) if flip else out


def weights(
    boxes: np.ndarray, frames: np.ndarray, flips: np.ndarray, sides: tuple[int, int], res: int, antialias: bool
) -> np.ndarray:
    """The bilinear weights that take images of ``sides`` to [R, R] along both axes: [2, B, R, the longer side].

    A triangle filter as wide as a pixel of the output (with ``antialias``, else of the input), cut off at the box and
    normalised, as PIL has it; the columns mirrored where ``flips``.
    """
    start, length = boxes.T.astype(np.float32).reshape(2, 2, -1, 1)  # [2, B, 1]
    resized, first = frames.T.astype(np.float32).reshape(2, 2, -1, 1)
    last = np.array(sides, np.float32).reshape(2, 1, 1) - 1
    low, high = start.clip(0, last), (start + length - 1).clip(0, last)
    places = np.tile(np.arange(res, dtype=np.float32), (*start.shape[:2], 1))  # [2, B, R]
    places[1, flips] = places[1, flips, ::-1]
    scale = length / resized
    centre = (start + (first + places + 0.5) * scale - 0.5).clip(low, high)
    longest = max(sides)
    if antialias and longest > res:
        return shrinking(centre, low, high, scale, longest)
    below = np.floor(centre)
    part = centre - below
    part[below < low] = 1
    part[below + 1 > high] = 0
    found = np.zeros((part.size, longest), np.float32)
    lines, taps = np.arange(part.size), below.astype(np.int64).ravel()
    found[lines, np.minimum(taps + 1, longest - 1)] = part.ravel()
    found[lines, taps] += 1 - part.ravel()
    return found.reshape(*part.shape, longest)


def shrinking(centre: np.ndarray, low: np.ndarray, high: np.ndarray, scale: np.ndarray, size: int) -> np.ndarray:
    """The weights of triangles ``scale`` [2, B, 1] wide, a pixel at least: centres [2, B, R] -> [2, B, R, ``size``]."""
    index = np.arange(size, dtype=np.float32)
    weight = 1 - np.abs(index - centre[..., None]) / np.maximum(scale, 1)[..., None]
    weight *= (weight > 0) & (index >= low[..., None]) & (index <= high[..., None])
    total = weight.sum(-1, keepdims=True)
    nearest = index == np.rint(centre)[..., None]
    return np.where(total > 0, weight / np.maximum(total, 1e-12), nearest)
