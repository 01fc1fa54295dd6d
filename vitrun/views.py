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
THIN = 16  # times the pixels kept, from which on a resized image is not made as a whole
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
        boxes, frames = CROPS[self.crop](numbers, sizes(pixels), self.area, self.res)
        flips = (numbers[:, -1] < 0.5) & self.flip
        images = resample(pixels, boxes, flips, self.res, out, self.antialias, frames)
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
        return resample(pixels, whole(sides), np.zeros(len(sides), bool), self.res, out, self.antialias, frames)


def sizes(pixels: Tensor | Sequence[Tensor]) -> np.ndarray:
    """The height and width of each image: [B, 2]."""
    if isinstance(pixels, Tensor):
        return np.tile(pixels.shape[2:], (len(pixels), 1))
    return np.array([image.shape[1:] for image in pixels])


def whole(sides: np.ndarray) -> np.ndarray:
    """The whole image as a box: [B, 2] -> [B, 4]."""
    return np.concatenate([np.zeros_like(sides), sides], 1)


def filled(boxes: np.ndarray, res: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes that become all of the image, and the frames that say so: both [B, 4]."""
    return boxes, np.tile([res, res, 0, 0], (len(boxes), 1))


def inception_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (top, left, height, width) of a uniform share of the area and a log-uniform aspect."""
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
    return filled(np.stack([top, left, height, width], 1), res)


def pad_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes as large as the image, shifted by up to an eighth of it; what lies outside repeats the edge."""
    shifts = np.rint((numbers[:, -3:-1] * 2 - 1) * PAD * sides)
    return filled(np.concatenate([shifts, sides], 1), res)


def square_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int, kept: float = SQUARE
) -> tuple[np.ndarray, np.ndarray]:
    """The whole image squashed to a square of which ``kept`` of each side is cut out at random."""
    side = round(res / kept)
    places = np.minimum(np.floor(numbers[:, -3:-1] * (side - res + 1)), side - res)
    return whole(sides), np.concatenate([np.full_like(sides, side), places.astype(np.int64)], 1)


def no_crop(
    numbers: np.ndarray, sides: np.ndarray, area: tuple[float, float], res: int
) -> tuple[np.ndarray, np.ndarray]:
    """The whole image."""
    return filled(whole(sides), res)


# From numbers [B, NUMBERS] and sides [B, 2] to boxes and frames, as ``resample`` takes them.
CROPS = {
    "inception": inception_crop,
    "pad": pad_crop,
    "square": square_crop,
    "small_square": partial(square_crop, kept=SMALL_SQUARE),
    "none": no_crop,
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

    A box is its top, left, height and width in whole pixels; beyond the image its edge is repeated.
    Without ``antialias`` a pixel is made of its four neighbours however much the image shrinks, as TensorFlow's
    ``resize`` does. ``frames`` [B, 4] is the height and width that a box is resized to, and the top and left of the
    [R, R] that is kept of that; none for all of R by R. Images of one size are resampled together, by two small
    matrices each; others one by one.
    """
    out = torch.empty(len(boxes), 3, res, res) if out is None else out
    frames = filled(boxes, res)[1] if frames is None else frames
    if isinstance(pixels, Tensor):
        beyond = np.maximum(-boxes[:, :2], boxes[:, :2] + boxes[:, 2:] - pixels.shape[2:]).max()
        if beyond > 0:  # the edge is repeated
            pixels = functional.pad(pixels.float(), [int(beyond)] * 4, mode="replicate")
            boxes = boxes + [beyond, beyond, 0, 0]
        high, wide = pixels.shape[2:]
        found = torch.from_numpy(weights(boxes, frames, flips, (high, wide), res, antialias))
        rows, columns = found[0, :, :, :high], found[1, :, :, :wide]  # [B, R, H], [B, R, W]
        narrow = pixels.float().flatten(1, 2) @ columns.mT  # [B, 3H, R]
        torch.matmul(rows[:, None], narrow.unflatten(1, (3, high)), out=out)  # [B, 3, R, R]
        scale(out, out)
    else:
        for row, image in enumerate(pixels):
            one = slice(row, row + 1)
            if frames[row, :2].prod() > THIN * res**2:
                resample(image[None], boxes[one], flips[one], res, out[one], antialias, frames[one])
            else:
                scale(resample_one(image, boxes[row], frames[row], flips[row], res, antialias), out[row])
    return out


def scale(images: Tensor, out: Tensor) -> None:
    """Write values from 0 to 255 as -1 to 1."""
    torch.sub(images, 127.5, out=out).div_(127.5)


def resample_one(image: Tensor, box: np.ndarray, frame: np.ndarray, flip: bool, res: int, antialias: bool) -> Tensor:
    """One image [3, h, w] to [3, R, R], uint8."""
    top, left, height, width = (int(side) for side in box)
    cut = image[None, :, max(top, 0) : top + height, max(left, 0) : left + width]
    if cut.shape[2:] != (height, width):  # beyond the image its edge is repeated
        rows = torch.arange(top, top + height).clamp(0, image.shape[1] - 1)
        columns = torch.arange(left, left + width).clamp(0, image.shape[2] - 1)
        cut = image[None, :, rows[:, None], columns]
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
    places = np.tile(np.arange(res, dtype=np.float32), (*start.shape[:2], 1))  # [2, B, R]
    places[1, flips] = places[1, flips, ::-1]
    scale = length / resized
    end = start + length - 1
    centre = (start + (first + places + 0.5) * scale - 0.5).clip(start, end)
    longest = max(sides)
    if antialias and longest > res:
        return shrinking(centre, start, end, scale, longest)
    below = np.floor(centre)
    part = centre - below  # of the pixel behind; none at the end of the box
    found = np.zeros((part.size, longest), np.float32)
    lines, taps = np.arange(part.size), below.astype(np.int64).ravel()
    found[lines, np.minimum(taps + 1, longest - 1)] = part.ravel()
    found[lines, taps] += 1 - part.ravel()
    return found.reshape(*part.shape, longest)


def shrinking(centre: np.ndarray, start: np.ndarray, end: np.ndarray, scale: np.ndarray, size: int) -> np.ndarray:
    """The weights of triangles ``scale`` [2, B, 1] wide, a pixel at least: centres [2, B, R] -> [2, B, R, ``size``]."""
    index = np.arange(size, dtype=np.float32)
    weight = 1 - np.abs(index - centre[..., None]) / np.maximum(scale, 1)[..., None]
    weight *= (weight > 0) & (index >= start[..., None]) & (index <= end[..., None])
    return weight / weight.sum(-1, keepdims=True)
