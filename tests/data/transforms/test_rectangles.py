"""Rectangles of test images are those of transformers' processors of detectors."""

import numpy as np
import pytest
import torch
from transformers import DetrImageProcessorPil, YolosImageProcessorPil
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.models.yolos.image_processing_pil_yolos import get_size_with_aspect_ratio_yolos

from vitrun.data.transforms.rectangles import RectangleView
from vitrun.data.transforms.views import CenterCropView
from vitrun.errors import UserError

MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


@pytest.mark.parametrize("res", [800, 512, 96])
def test_sides_are_rounded_as_by_transformers(res):
    sides = np.stack(np.meshgrid(range(20, 1700, 37), [21, 96, 333, 480, 512, 640, 800, 1333]), -1).reshape(-1, 2)
    longest = round(res * 1333 / 800)
    sizes = {"rectangle": get_size_with_aspect_ratio, "rectangle_16": get_size_with_aspect_ratio_yolos}
    for (resize, theirs), least in zip(sizes.items(), (1, 16)):
        expected = np.maximum([theirs(pair, res, longest) for pair in sides.tolist()], least)
        np.testing.assert_array_equal(RectangleView(res, resize).measure(sides), expected, resize)


@pytest.mark.parametrize(
    ("resize", "processor"), [("rectangle", DetrImageProcessorPil), ("rectangle_16", YolosImageProcessorPil)]
)
def test_a_batch_of_rectangles_is_that_of_transformers(resize, processor):
    generator = torch.Generator().manual_seed(0)
    pixels = [torch.randint(256, (3, *side), generator=generator, dtype=torch.uint8) for side in ((40, 70), (90, 45))]
    view = RectangleView(48, resize, fill=(124, 116, 104))
    images, padding = view.join([*map(view, pixels)])
    theirs = processor(size={"shortest_edge": 48, "longest_edge": 80})([*pixels], return_tensors="pt")
    assert images.shape == theirs["pixel_values"].shape and torch.equal(padding, theirs["pixel_mask"] == 0)
    difference = (images + 1) / 2 - (theirs["pixel_values"] * STD + MEAN)
    assert difference.abs().max() < 1.01 / 255  # a level, by rounding


def test_other_views_have_no_rectangles():
    with pytest.raises(UserError, match="detectors"):
        CenterCropView(32, resize="rectangle")
