"""Small pictures of test images, from the data set where it can still be opened."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from vitrun import data, recipes
from vitrun.data.sources.registry import find_source
from vitrun.errors import UserError
from vitrun.recipes import tables
from vitrun.runtime.console import Screen

SIDE = 128  # pixels, of the longer side of a picture; smaller images stay as they are
MAX_PNG = 64  # pixels of a side up to which a picture is a PNG: without loss, and small
JPEG_QUALITY = 85


class NoImages(Exception):
    """Raised with the reason why there are no pictures."""


def load_thumbnails(options: dict[str, Any], fingerprint: str | None, keys: Sequence[str]) -> dict[str, bytes]:
    """Return pictures of the test images of these keys, PNG or JPEG; raise NoImages if the data cannot be opened.

    Nothing is downloaded. Images that cannot be decoded are left out.

    Args:
        options: The data set as the run's recipe has it.
        fingerprint: That of the test images of the run: of other images no pictures are shown.
    """
    split = open_test_images(options)
    if fingerprint is not None and split.fingerprint != fingerprint:
        raise NoImages("the data have changed since: their fingerprint is another")
    wanted = set(keys)
    rows = {key: row for row, key in enumerate(split.keys) if key in wanted}
    pictures = {}
    for key in keys:
        if key in rows and (pixels := decode(split, rows[key])) is not None:
            pictures[key] = encode(pixels)
    if not pictures:
        raise NoImages("none of these images is in the data set")
    return pictures


def open_test_images(options: dict[str, Any]) -> data.Split:
    """Return the test part of a data set without decoding it; raise NoImages if that needs a download or fails."""
    try:
        described = tables.validate_row(recipes.Data, dict(options), "its recipe")
        source = find_source(described)
        if pending := source.pending_work(described, "test"):
            raise NoImages(f"its images would have to be fetched or indexed ({pending})")
        return source.open(described, "test", Screen(quiet=True), lambda: None)
    except UserError as error:
        raise NoImages(str(error)) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoImages(str(error) or type(error).__name__) from None


def decode(split: data.Split, row: int) -> np.ndarray | None:
    """Return the pixels of an image, uint8 [3, h, w]; None if it cannot be decoded any more."""
    if split.pixels is not None:
        return split.pixels[row].numpy()
    try:
        return split.decode(row)
    except UserError:
        return None


def encode(pixels: np.ndarray) -> bytes:
    """Return pixels [3, h, w] as a small image file."""
    image = Image.fromarray(pixels.transpose(1, 2, 0))
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    if max(image.size) <= MAX_PNG:
        image.save(file, "PNG", optimize=True)
    else:
        image.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
