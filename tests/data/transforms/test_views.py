"""Crops and resizing give the right pixels."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from torchvision.transforms import RandomResizedCrop

from helpers.images import random_images
from vitrun.data.loader import Pixels
from vitrun.data.transforms.crops import CROPS, NUMBERS_PER_CROP
from vitrun.data.transforms.randaugment import RandAugment
from vitrun.data.transforms.resize import Regions, resample, to_floats, with_full_frames
from vitrun.data.transforms.views import CenterCropView, CropView


def resize(pixels: Pixels, boxes: np.ndarray, flips: np.ndarray, res: int, antialias: bool = True) -> torch.Tensor:
    """Return the boxes of images, resized to [3, res, res] each."""
    return resample(pixels, Regions(*with_full_frames(boxes, res), flips), res, antialias=antialias)


@pytest.mark.parametrize("box", [(0, 0, 40, 30), (3, 5, 20, 11), (10, 2, 8, 8), (0, 0, 16, 16)])
@pytest.mark.parametrize("res", [16, 37])
def test_a_resized_crop_equals_that_of_pil(box, res):
    image = random_images(1, 40, 30)
    ours = (resize(image, np.array([box], float), np.array([False]), res)[0] + 1) * 127.5
    top, left, height, width = box
    cut = Image.fromarray(image[0].permute(1, 2, 0).numpy()).crop((left, top, left + width, top + height))
    theirs = torch.from_numpy(np.array(cut.resize((res, res), Image.Resampling.BILINEAR))).permute(2, 0, 1)
    assert (ours - theirs).abs().max() < 1.01, "PIL rounds to whole numbers, twice"


def test_batches_of_one_and_of_many_sizes_are_resampled_alike():
    batch, boxes = random_images(2, 40, 30), np.array([[3, 5, 20, 11], [0, 0, 40, 30]], float)
    together = resize(batch, boxes, np.array([True, False]), 16)
    single = resize(list(batch), boxes, np.array([True, False]), 16)
    assert (together - single).abs().max() * 127.5 < 1.01


def test_a_flip_is_the_mirror_image():
    batch, box = random_images(1, 8, 8), np.array([[0, 0, 8, 8]], float)
    plain, mirrored = (resize(batch, box, np.array([flip]), 8) for flip in (False, True))
    torch.testing.assert_close(plain.flip(3), mirrored)


def test_a_test_view_is_the_whole_image_made_square_or_its_center():
    batch = random_images(1, 20, 20)
    assert torch.allclose((CenterCropView(20)(batch) + 1) * 127.5, batch.float(), atol=1e-3)
    actual = (CenterCropView(14, crop=0.7)(batch) + 1) * 127.5
    assert torch.allclose(actual, batch[:, :, 3:17, 3:17].float(), atol=1e-3)


@pytest.mark.parametrize("shape", [(40, 30), (9, 50), (16, 16)])
@pytest.mark.parametrize("antialias", [True, False])
def test_a_test_view_is_the_resized_image_cropped(shape, antialias):
    """Compare with torch's resize of floats, which without antialias is TensorFlow's with half-pixel centers."""
    batch = random_images(2, *shape)
    for resize, sides in (("square", (16, 16)), ("small", tuple(round(16 * side / min(shape)) for side in shape))):
        resized = functional.interpolate(batch.float(), sides, mode="bilinear", antialias=antialias)
        top, left = ((side - 14) // 2 for side in sides)
        view = CenterCropView(14, 0.875, resize, antialias)
        for actual, near in ((view(batch), 1e-2), (view(list(batch)), 1.01)):
            cropped = resized[:, :, top : top + 14, left : left + 14]
            assert ((actual + 1) * 127.5 - cropped).abs().max() < near


@pytest.mark.parametrize("res", [9, 40])
def test_a_training_crop_without_antialias_is_made_of_four_neighbours(res):
    batch, box = random_images(1, 40, 30), np.array([[3, 5, 20, 11]], float)
    expected = functional.interpolate(batch[:, :, 3:23, 5:16].float(), (res, res), mode="bilinear", antialias=False)
    for pixels, near in ((batch, 1e-2), (list(batch), 1.01)):
        actual = (resize(pixels, box, np.array([False]), res, antialias=False) + 1) * 127.5
        assert (actual - expected).abs().max() < near


def test_a_test_view_can_preserve_the_aspect_ratio():
    batch = random_images(1, 20, 60)
    actual = (CenterCropView(20, resize="small")(batch) + 1) * 127.5
    assert torch.allclose(actual, batch[:, :, :, 20:40].float(), atol=1e-3)


@pytest.mark.parametrize("crop", ["inception", "random_resized"])
@pytest.mark.parametrize("sides", [(32, 32), (40, 90), (200, 30)])
def test_random_boxes_lie_inside_the_image_and_have_the_requested_areas(crop, sides):
    numbers = np.random.default_rng(0).random((2000, NUMBERS_PER_CROP))
    boxes, _ = CROPS[crop](numbers, np.tile(sides, (2000, 1)), (0.2, 0.6), 32)
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= sides).all()
    share = boxes[:, 2] * boxes[:, 3] / np.prod(sides)
    inside = (share > 0.17) & (share < 0.63)
    assert inside.mean() > 0.95 if sides == (32, 32) else inside.any()


# Mean height, share of the area, aspect, top and left of 20,000 boxes by TensorFlow's sample_distorted_bounding_box and
# by torchvision's RandomResizedCrop, of 5 to 100 % of the area
LAWS = {
    ("inception", 32, 32): (18.30, 387.5 / 32**2, 1.040, 6.363, 6.112),
    ("inception", 375, 500): (235.8, 64520 / 375 / 500, 1.043, 69.15, 126.7),
    ("inception", 200, 30): (23.38, 568.8 / 200 / 30, 1.040, 88.50, 2.650),
    ("random_resized", 375, 500): None,
}


@pytest.mark.parametrize("crop, high, wide", LAWS)
def test_random_boxes_have_the_distribution_of_tensorflow_and_torchvision(crop, high, wide):
    sides = np.tile((high, wide), (20000, 1))
    boxes, _ = CROPS[crop](np.random.default_rng(0).random((20000, NUMBERS_PER_CROP)), sides, (0.05, 1.0), 32)
    expected = LAWS[crop, high, wide]
    if expected is None:
        torch.manual_seed(0)
        image = torch.empty(0, high, wide)
        theirs = [RandomResizedCrop.get_params(image, [0.05, 1.0], [3 / 4, 4 / 3]) for _ in range(5000)]
        expected = box_statistics(np.array(theirs), high, wide)
    np.testing.assert_allclose(box_statistics(boxes, high, wide), expected, rtol=0.03)


def box_statistics(boxes: np.ndarray, high: int, wide: int) -> list[float]:
    """Return the mean height, share of the area, aspect ratio, top and left of boxes [N, 4]."""
    top, left, height, width = boxes.T
    return [float(x.mean()) for x in (height, height * width / high / wide, width / height, top, left)]


def test_area_resizing_weights_each_pixel_by_its_covered_share():
    image = random_images(1, 30, 60)
    expected = functional.avg_pool2d(image[:, :, :, 15:45].float(), 3)
    for pixels in (image, list(image)):
        torch.testing.assert_close(
            (CenterCropView(10, resize="small_area")(pixels) + 1) * 127.5, expected, atol=1e-3, rtol=0
        )
    thirds = torch.tensor([[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]])  # weights of three pixels for each of two
    small = random_images(1, 3, 3)
    actual = (CenterCropView(2, resize="small_area")(small) + 1) * 127.5
    torch.testing.assert_close(actual, thirds @ small.float() @ thirds.T, atol=1e-3, rtol=0)


@pytest.mark.parametrize("crop, resized, res", [("square", 28, 24), ("small_square", 30, 24)])
def test_a_square_crop_equals_a_crop_of_the_squashed_image(crop, resized, res):
    image = random_images(1, 56, 84)
    squashed = (resize(image, np.array([[0, 0, 56, 84]], float), np.array([False]), resized)[0] + 1) * 127.5
    margin = resized - res
    for top, left in ((0, 0), (1, 3), (margin, margin)):
        numbers = np.zeros((1, NUMBERS_PER_CROP))
        numbers[0, -3:-1] = top / margin, left / margin
        box, frame = CROPS[crop](numbers, np.array([[56, 84]]), (1.0, 1.0), res)
        for pixels, near in ((image, 1e-2), (list(image), 1.01)):
            cropped = (resample(pixels, Regions(box, frame, np.array([False])), res)[0] + 1) * 127.5
            assert (cropped - squashed[:, top : top + res, left : left + res]).abs().max() < near


@pytest.mark.parametrize("crop", CROPS)
def test_a_crop_is_the_same_from_memory_and_from_single_images(crop):
    batch, indices = random_images(8, 40, 30), np.arange(8)
    view = CropView(24, crop, (0.05, 1.0), True, seed=1)
    assert (view(batch, 0, indices) - view(list(batch), 0, indices)).abs().max() * 127.5 < 1.01


def test_a_pad_crop_shifts_the_image_and_repeats_its_edge():
    batch, indices = random_images(64, 32, 32), np.arange(64)
    shifted = (CropView(32, "pad", (1.0, 1.0), False, seed=1)(batch, 0, indices) + 1) * 127.5
    shifted = shifted.round()
    wide = functional.pad(batch.float(), (4, 4, 4, 4), mode="replicate")
    shifts = set()
    for image, padded in zip(shifted, wide):
        places = [(y, x) for y in range(9) for x in range(9) if torch.equal(image, padded[:, y : y + 32, x : x + 32])]
        assert len(places) == 1
        shifts |= set(places)
    assert len(shifts) > 30


def test_a_pad_crop_draws_every_shift_equally_often():
    numbers = np.random.default_rng(0).random((90_000, NUMBERS_PER_CROP))
    (boxes, _) = CROPS["pad"](numbers, np.full((90_000, 2), 32), (1.0, 1.0), 32)
    shifts, counts = np.unique(boxes[:, 0], return_counts=True)
    assert shifts.tolist() == list(range(-4, 5)) and np.ptp(counts) < 600, "10,000 each, 94 the deviation"


def test_a_thin_image_is_resized_only_where_it_is_visible():
    thin = random_images(1, 1, 5000)
    actual = CenterCropView(32, 1.0, "small")(list(thin))
    torch.testing.assert_close(actual, CenterCropView(32, 1.0, "small")(thin))


def test_a_view_depends_only_on_seed_epoch_and_index():
    view = CropView(16, "inception", (0.05, 1.0), True, seed=3)
    batch, indices = random_images(6, 32, 32), np.arange(6)
    expected = view(batch, 2, indices)
    torch.testing.assert_close(view(batch[4:], 2, indices[4:]), expected[4:])
    assert not torch.equal(view(batch, 3, indices), expected)


VIEWS = {
    "timm": CenterCropView(32, 0.9, "shortest", interpolation="bicubic"),
    "border": CenterCropView(32, 1.0, "border", fill=(3, 100, 250)),
    "without antialias": CenterCropView(32, antialias=False),
    "area": CenterCropView(32, resize="small_area"),
    "crop": partial(CropView(32, "inception", (0.05, 1.0), True, 1), epoch=2, indices=np.arange(6)),
    "augmented": partial(
        CropView(32, "pad", (1.0, 1.0), True, 1, augment=[RandAugment("big_vision", 2, 10, 0)]),
        epoch=2,
        indices=np.arange(6),
    ),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("is_thin", [False, True])
def test_levels_that_are_scaled_later_are_the_same_views_to_the_last_bit(name, is_thin):
    """They are bytes where each image is resized by itself, and it is not so long that only a part of it is."""
    view, images = VIEWS[name], random_images(6, 40, 30)
    if isinstance(view, partial):
        of_levels = partial(replace(view.func, levels=True), **view.keywords)
    else:
        of_levels = replace(view, levels=True)
    for pixels in (images, [*images[:5], *random_images(1, 20, 1000)] if is_thin else [*images]):
        views, levels = view(pixels), of_levels(pixels)
        assert views.dtype == torch.float32 and torch.equal(to_floats(levels), views)
        if isinstance(pixels, list) and not is_thin:
            assert levels.dtype == (torch.float32 if name == "area" else torch.uint8)
