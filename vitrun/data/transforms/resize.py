"""Resizing of boxes of images: by a small matrix for each axis, or one image at a time by torch or PIL."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

PIL_FILTERS = {"pil_bilinear": Image.Resampling.BILINEAR, "pil_bicubic": Image.Resampling.BICUBIC}
MAX_RESIZE_RATIO = 16  # times R * R pixels; of a larger resized image only the part that is cut out is computed


def with_full_frames(boxes: np.ndarray, res: int) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes and the frames that make each of them the whole output: both [B, 4]."""
    return boxes, np.tile([res, res, 0, 0], (len(boxes), 1))


@dataclass(frozen=True)
class Regions:
    """The part of each of B images that becomes a view.

    Args:
        boxes: [B, 4] top, left, height and width in whole pixels; outside of the image its edge is repeated.
        frames: [B, 4] the height and width that a box is resized to, and top and left of the [R, R] that is cut out of
            it.
        flips: [B] whether to mirror.
    """

    boxes: np.ndarray
    frames: np.ndarray
    flips: np.ndarray

    def one(self, row: int) -> "Regions":
        """Return the region of the image at ``row``, with B = 1."""
        return Regions(*(array[row : row + 1] for array in (self.boxes, self.frames, self.flips)))


def resample(
    pixels: Tensor | Sequence[Tensor],
    regions: Regions,
    res: int,
    out: Tensor | None = None,
    antialias: bool = True,
    method: str = "bilinear",
) -> Tensor:
    """Resize the region of each image to [3, R, R], and scale it to [-1, 1] unless ``out`` is uint8.

    Args:
        pixels: uint8 [B, 3, H, W], which are resized together by two small matrices each; or B images [3, h, w], which
            are resized one by one.
        out: float32 [B, 3, R, R] for the result, or uint8 for its levels before they are scaled. If these are not whole
            numbers (:func:`has_whole_levels`), the result is a new float32 tensor.
        antialias: If False, a pixel is made of its four neighbours however much the image shrinks, as TensorFlow's
            ``resize`` does by default.
        method: ``bilinear``; ``bicubic``, with antialias only; these by PIL, as a key of ``PIL_FILTERS``; or ``area``,
            where a pixel is the mean of the area that it covers, as in TensorFlow's method of that name.
    """
    out = torch.empty(len(regions.boxes), 3, res, res) if out is None else out
    if out.dtype == torch.uint8 and not has_whole_levels(pixels, regions, res, method):
        out = torch.empty(out.shape)
    if isinstance(pixels, Tensor) and method not in PIL_FILTERS:
        return resample_together(pixels, regions, res, out, antialias, method)
    for row, image in enumerate(pixels):
        region = regions.one(row)
        if method == "area" or region.frames[0, :2].prod() > MAX_RESIZE_RATIO * res**2:
            resample_together(image[None], region, res, out[row : row + 1], antialias, method)
        else:
            levels = resample_one(image, region, res, antialias, method)
            if out.dtype == torch.uint8:
                out[row] = levels
            else:
                scale_pixels(levels, out[row])
    return out


def has_whole_levels(pixels: Tensor | Sequence[Tensor], regions: Regions, res: int, method: str) -> bool:
    """Return whether the resized pixels are whole numbers, as torch and PIL make them of one image at a time."""
    if isinstance(pixels, Tensor) and method not in PIL_FILTERS or method == "area":
        return False
    return bool((regions.frames[:, :2].prod(1) <= MAX_RESIZE_RATIO * res**2).all())


def resample_together(pixels: Tensor, regions: Regions, res: int, out: Tensor, antialias: bool, method: str) -> Tensor:
    """Resample images of one size, uint8 [B, 3, H, W], by a matrix for each axis."""
    boxes = regions.boxes
    beyond = np.maximum(-boxes[:, :2], boxes[:, :2] + boxes[:, 2:] - pixels.shape[2:]).max()
    if beyond > 0:  # the edge is repeated
        pixels = functional.pad(pixels.float(), [int(beyond)] * 4, mode="replicate")
        boxes = boxes + [beyond, beyond, 0, 0]
    high, wide = pixels.shape[2:]
    weights = torch.from_numpy(resize_weights(replace(regions, boxes=boxes), (high, wide), res, antialias, method))
    rows, columns = weights[0, :, :, :high], weights[1, :, :, :wide]  # [B, R, H], [B, R, W]
    narrow = pixels.float().flatten(1, 2) @ columns.mT  # [B, 3H, R]
    if method.endswith("bicubic"):  # which overshoots: PIL stores whole levels after each axis
        narrow.round_().clamp_(0, 255)
    torch.matmul(rows[:, None], narrow.unflatten(1, (3, high)), out=out)  # [B, 3, R, R]
    if method.endswith("bicubic"):
        out.round_().clamp_(0, 255)
    scale_pixels(out, out)
    return out


def scale_pixels(images: Tensor, out: Tensor) -> None:
    """Scale values from [0, 255] to [-1, 1], into ``out``."""
    torch.sub(images, 127.5, out=out).div_(out.new_full((), 127.5))  # a GPU multiplies by the inverse of a number


def to_floats(images: Tensor) -> Tensor:
    """Return images in [-1, 1]: scale uint8 images, with the same bits on every device; return others unchanged."""
    if images.dtype != torch.uint8:
        return images
    floats = torch.empty_like(images, dtype=torch.float32)
    scale_pixels(images, floats)
    return floats


def join_images(parts: Sequence[Tensor]) -> Tensor:
    """Return images concatenated along the batch [B, 3, R, R], uint8 if all of them are."""
    if len(parts) == 1:
        return parts[0]
    return torch.cat([*parts] if len({part.dtype for part in parts}) == 1 else [to_floats(part) for part in parts])


def resample_one(image: Tensor, region: Regions, res: int, antialias: bool, method: str) -> Tensor:
    """Resize the region of one image: uint8 [3, h, w] -> uint8 [3, R, R]."""
    top, left, height, width = (int(side) for side in region.boxes[0])
    cut = image[None, :, max(top, 0) : top + height, max(left, 0) : left + width]
    if cut.shape[2:] != (height, width):  # outside of the image its edge is repeated
        rows = torch.arange(top, top + height).clamp(0, image.shape[1] - 1)
        columns = torch.arange(left, left + width).clamp(0, image.shape[2] - 1)
        cut = image[None, :, rows[:, None], columns]
    height, width, top, left = region.frames[0].tolist()
    if method in PIL_FILTERS:
        one = Image.fromarray(cut[0].permute(1, 2, 0).contiguous().numpy())
        out = torch.from_numpy(np.array(one.resize((width, height), PIL_FILTERS[method]))).permute(2, 0, 1)
    else:
        cut = cut.contiguous(memory_format=torch.channels_last)  # as decoders lay out pixels: torch is slow on planes
        out = functional.interpolate(cut, (height, width), mode=method, antialias=antialias)[0]
    if top < 0 or left < 0 or top + res > height or left + res > width:  # the edge is repeated outside of the frame too
        rows = torch.arange(top, top + res).clamp(0, height - 1)
        out = out[:, rows[:, None], torch.arange(left, left + res).clamp(0, width - 1)]
    else:
        out = out[:, top : top + res, left : left + res]
    return out.flip(2) if region.flips[0] else out  # 18 us beside 240 to resize and store it, and 2 ms to decode it


def resize_weights(regions: Regions, sides: tuple[int, int], res: int, antialias: bool, method: str) -> np.ndarray:
    """Return the weights that resize images of ``sides`` (height, width) to [R, R]: [2, B, R, the longer side].

    The filter is a triangle as wide as a pixel of the output (without ``antialias``, of the input), cut off at the box
    and normalized as in PIL; a cubic spline of twice that width for ``bicubic``, a rectangle for ``area``. The columns
    of mirrored images are mirrored.
    """
    start, length = regions.boxes.T.astype(np.float32).reshape(2, 2, -1, 1)  # [2, B, 1]
    resized, first = regions.frames.T.astype(np.float32).reshape(2, 2, -1, 1)
    places = np.tile(np.arange(res, dtype=np.float32), (*start.shape[:2], 1))  # [2, B, R]
    places[1, regions.flips] = places[1, regions.flips, ::-1]
    scale = length / resized
    end = start + length - 1
    if method == "area":
        return area_weights(start + (first + places) * scale, scale, max(sides))
    centre = start + (first + places + 0.5) * scale - 0.5
    longest = max(sides)
    if method.endswith("bicubic"):
        return filter_weights(cubic, centre.clip(start - 0.5, end + 0.5), start, end, scale, longest)
    centre = centre.clip(start, end)
    if antialias and longest > res:
        return filter_weights(triangle, centre, start, end, scale, longest)
    below = np.floor(centre)
    part = centre - below  # weight of the next pixel; 0 at the end of the box
    weights = np.zeros((part.size, longest), np.float32)
    lines, taps = np.arange(part.size), below.astype(np.int64).ravel()
    weights[lines, np.minimum(taps + 1, longest - 1)] = part.ravel()
    weights[lines, taps] += 1 - part.ravel()
    return weights.reshape(*part.shape, longest)


def area_weights(begin: np.ndarray, scale: np.ndarray, size: int) -> np.ndarray:
    """Return the weights of intervals from ``begin`` [2, B, R], ``scale`` [2, B, 1] pixels long: [2, B, R, size]."""
    index = np.arange(size, dtype=np.float32)
    begin, end = begin[..., None], (begin + scale)[..., None]
    weight = (np.minimum(index + 1, end) - np.maximum(index, begin)).clip(0)
    return weight / weight.sum(-1, keepdims=True)


def filter_weights(
    kernel: Callable[[np.ndarray], np.ndarray],
    centre: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    scale: np.ndarray,
    size: int,
) -> np.ndarray:
    """Return the weights of a kernel around ``centre`` [2, B, R], ``scale`` [2, B, 1] times as wide: [2, B, R, size].

    It is never narrower than over pixels of the input.
    """
    index = np.arange(size, dtype=np.float32)
    weight = kernel(np.abs(index - centre[..., None]) / np.maximum(scale, 1)[..., None])
    weight *= (index >= start[..., None]) & (index <= end[..., None])
    return weight / weight.sum(-1, keepdims=True)


def triangle(distance: np.ndarray) -> np.ndarray:
    """Return the bilinear kernel at a distance in pixels."""
    return (1 - distance).clip(0)


def cubic(distance: np.ndarray) -> np.ndarray:
    """Return the bicubic kernel at a distance in pixels, with a = -0.5 as in PIL, Keys and TensorFlow."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, np.float32(0)))
