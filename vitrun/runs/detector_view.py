"""Views of test images by the processors of transformers' detectors."""

from collections.abc import Mapping
from typing import Any

from vitrun.recipes.view import LONGEST, RECTANGLES

IMAGENET_MEAN = (0.485, 0.456, 0.406)
SHORTEST = 800  # pixels, the default of the processors
DETECTOR_PROCESSORS = {"Yolos": "rectangle_16", "Detr": "rectangle"}  # kind of processor -> view.resize


def read_detector_view(config: Mapping[str, Any], family: str) -> tuple[dict[str, Any], int | None, str] | None:
    """Return the view of a processor but for the interpolation, ``res`` if it gives one, and a note of what differs.

    An image is shown whole. Padding is zero after normalization: the mean of training images. Return None for a size
    that vitrun lacks.
    """
    options: dict[str, Any] = {"resize": "square", "crop": 1.0, "antialias": True}
    size = config.get("size") or SHORTEST
    sides = size if isinstance(size, dict) else {"shortest_edge": size}
    if {"height", "width"} <= sides.keys():
        return options, None, ""
    shortest, resize = sides.get("shortest_edge"), DETECTOR_PROCESSORS[family]
    if not isinstance(shortest, int):
        return None
    fill = [round(255 * mean) for mean in config.get("image_mean") or IMAGENET_MEAN]
    longest, shown = sides.get("longest_edge") or config.get("max_size"), round(shortest * LONGEST)
    note = "" if longest in (None, shown) else f", with a longer side of at most {shown} pixels, where it has {longest}"
    res = shortest if shortest % RECTANGLES[resize] == 0 else None  # as the network is loaded: whole patches
    return options | {"resize": resize, "fill": fill}, res, note
