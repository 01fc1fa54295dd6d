"""Draw boxes into images: true ones dashed and white, detected ones in a colour for each class, with a label."""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vitrun.plots.style import FOREGROUND, HUES

LEAST, MOST = 256, 1024  # pixels of the longer side of an image with boxes, which is enlarged or shrunk
FONT_SHARE = 30  # of the longer side, the height of letters is one part
DASH = 6  # pixels
GAP = 8  # pixels between pictures of a grid


class DrawnBox(NamedTuple):
    """A box in pixels of an image."""

    corners: Sequence[float]  # left, top, right and bottom
    text: str = ""
    color: int | None = None  # number of the class; None for a true box


def draw_boxes(pixels: np.ndarray, boxes: Sequence[DrawnBox], least: int = LEAST, most: int = MOST) -> Image.Image:
    """Return an image, uint8 [3, h, w], with boxes, the first of them on top.

    Its longer side has at least ``least`` pixels and at most ``most``.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    scale = min(max(1.0, least / max(image.size)), most / max(image.size))
    size = [max(1, round(side * scale)) for side in image.size]
    image = image.resize((size[0], size[1]), Image.Resampling.NEAREST if scale > 2 else Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for box in reversed(boxes):
        left, top, right, bottom = (round(value * scale) for value in box.corners)
        corners = (max(left, 0), max(top, 0), min(right, size[0]) - 1, min(bottom, size[1]) - 1)
        if corners[2] > corners[0] and corners[3] > corners[1]:
            draw_box(draw, corners, box, max(size))
    return image


def draw_box(draw: ImageDraw.ImageDraw, corners: tuple[int, int, int, int], box: DrawnBox, side: int) -> None:
    """Draw one box into an image whose longer side is ``side``."""
    left, top, right, bottom = corners
    if box.color is None:
        draw.rectangle(corners, outline=FOREGROUND, width=1)
        for dash in dash_rectangle(corners):
            draw.line(dash, fill="white", width=1)
        return
    color = HUES[box.color % len(HUES)]
    draw.rectangle(corners, outline=color, width=max(2, side // 256))
    if not box.text:
        return
    font = load_font(max(11, side // FONT_SHARE))
    width, height = (math.ceil(value) for value in draw.textbbox((0, 0), box.text, font=font)[2:])
    y = top - height - 2 if top > height + 2 else top
    x = max(0, min(left, draw.im.size[0] - width - 4))
    draw.rectangle((x, y, x + width + 4, y + height + 2), fill=color)
    draw.text((x + 2, y), box.text, fill="white", font=font)


def dash_rectangle(corners: tuple[int, int, int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield the dashes of the sides of a rectangle."""
    left, top, right, bottom = corners
    for x in range(left, right, 2 * DASH):
        yield from ((x, y, min(x + DASH, right), y) for y in (top, bottom))
    for y in range(top, bottom, 2 * DASH):
        yield from ((x, y, x, min(y + DASH, bottom)) for x in (left, right))


@cache
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font of figures, ``size`` pixels high."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), size)


def join_pictures(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """Return pictures in rows of ``columns``, on a white background."""
    rows = [pictures[first : first + columns] for first in range(0, len(pictures), columns)]
    width = max(sum(one.width + GAP for one in row) for row in rows) + GAP
    height = sum(max(one.height for one in row) + GAP for row in rows) + GAP
    joined = Image.new("RGB", (width, height), "white")
    top = GAP
    for row in rows:
        left = GAP
        for one in row:
            joined.paste(one, (left, top))
            left += one.width + GAP
        top += max(one.height for one in row) + GAP
    return joined
