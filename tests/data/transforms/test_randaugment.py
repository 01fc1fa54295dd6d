"""RandAugment equals that of the two libraries, and every draw is a function of the image index."""

import hashlib

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from vitrun.data.transforms.randaugment import RandAugment, big_vision, explain_blank_images, torchvision
from vitrun.data.transforms.views import CropView
from vitrun.recipes import tables

SIDE = 8
LEVEL = {
    "none": (0, 0, 0),
    "light1": (2, 0, 0),
    "light2": (2, 10, 0.2),
    "medium1": (2, 15, 0.2),
    "medium2": (2, 15, 0.5),
}
LEVEL |= {"strong1": (2, 20, 0.5), "strong2": (2, 20, 0.8), "better_vit": (2, 10, 0.2)}


def make_gradient(side: int = SIDE) -> np.ndarray:
    """Return an image whose red grows to the right and green downwards; blue is 40 with one pixel of 200."""
    step = np.arange(side, dtype=np.uint8) * (240 // side)
    image = np.stack([np.tile(step, (side, 1)), np.tile(step[:, None], (1, side)), np.full((side, side), 40, np.uint8)])
    image[2, 2, 3] = 200
    return image


def apply(name: str, magnitude: int = 10, sign: float = 0.9, row: float = 0.5, column: float = 0.5, side: int = SIDE):
    return getattr(big_vision, name)(make_gradient(side), magnitude, sign, row, column)


@pytest.mark.parametrize("name, level", LEVEL.items())
def test_the_augmentation_levels_equal_the_published_ones(name, level):
    row = tables.read_row("augment", name)
    assert (row["layers"], row["magnitude"], row["mixup"]) == level
    assert row["randaugment"] == ("big_vision" if level[0] else "none")


def test_big_vision_has_sixteen_operations_and_each_changes_a_copy_of_the_image():
    assert len(set(big_vision.OPERATIONS)) == 16
    for operation in big_vision.OPERATIONS:
        image = make_gradient(64)
        result = operation(image, 10, 0.9, 0.5, 0.5)
        assert result.shape == image.shape and result.dtype == np.uint8 and (image == make_gradient(64)).all()
        assert (result != image).any(), operation.__name__


def test_autocontrast_stretches_each_channel():
    image = apply("autocontrast")
    assert (image[0, 0] == np.array([0, 36, 72, 109, 145, 182, 218, 255])).all()
    assert set(image[2].ravel()) == {0, 255}
    assert (big_vision.autocontrast(np.full((3, 4, 4), 7, np.uint8), 10, 0, 0, 0) == 7).all()


def test_equalize_equals_pil():
    from PIL import Image, ImageOps

    image = np.random.default_rng(0).integers(0, 90, (3, 40, 40), dtype=np.uint8)
    theirs = ImageOps.equalize(Image.fromarray(image.transpose(1, 2, 0)))
    assert (big_vision.equalize(image, 10, 0, 0, 0) == np.array(theirs).transpose(2, 0, 1)).all()
    assert (apply("equalize")[2] == make_gradient()[2]).all(), "too few pixels of other values to tell steps apart"


def test_pixel_operations_do_arithmetic():
    image = make_gradient().astype(int)
    assert (apply("invert") == 255 - image).all()
    assert (apply("posterize") == image // 16 * 16).all() and (apply("posterize", 20) == image).all()
    assert (apply("posterize", 0) == image // 128 * 128).all(), "TensorFlow shifts by 7 at most"
    assert (apply("posterize", 22) == image).all() and (apply("posterize", 23) == image // 128 * 128).all()
    assert (apply("solarize") == 255 - image).all(), "256 is 0 in 8 bits (big_vision, issue 110)"
    assert (apply("solarize", 5) == np.where(image < 128, image, 255 - image)).all()
    assert (apply("solarize", 15) == apply("solarize", 5)).all() and (apply("solarize", 20) == 255 - image).all()
    assert (apply("solarize_add") == np.where(image < 128, np.minimum(image + 110, 255), image)).all()
    assert (apply("brightness") == np.minimum((image.astype(np.float32) * np.float32(1.9)).astype(int), 255)).all()
    assert (apply("brightness", 0) == (image.astype(np.float32) * np.float32(0.1)).astype(int)).all(), (
        "light1 is not the identity"
    )


def test_contrast_blends_with_a_grey_of_the_number_of_pixels_over_256():
    grey = np.float32(224 * 224 // 256)  # 196 at 224 (big_vision, issue 109)
    expected = (grey + np.float32(1.9) * (make_gradient(224) - grey)).clip(0, 255).astype(np.uint8)
    assert grey == 196 and (apply("contrast", side=224) == expected).all()


def test_colour_keeps_a_grey_image_and_sharpness_a_flat_one():
    grey = np.full((3, 6, 6), 90, np.uint8)
    assert np.abs(big_vision.color(grey, 10, 0, 0, 0).astype(int) - 90).max() <= 1
    assert (big_vision.sharpness(grey, 10, 0, 0, 0) == 90).all()
    spot = apply("sharpness")[2]
    smooth = (40 * 8 + 200 * 5) // 13
    assert spot[2, 3] == min(int(smooth + np.float32(1.9) * (200 - smooth)), 255) and (spot[0] == 40).all()
    pure = apply("color", 5)  # factor 1
    assert (pure == make_gradient()).all()


def test_geometry_moves_pixels_and_fills_with_grey():
    image = make_gradient(224)
    right = apply("translate_x", side=224)  # x + 100 is shown at x
    assert (right[:, :, :124] == image[:, :, 100:]).all() and (right[:, :, 124:] == 128).all()
    down = apply("translate_y", 5, sign=0.1, side=224)
    assert (down[:, 50:] == image[:, :174]).all() and (down[:, :50] == 128).all()
    sheared = apply("shear_x", side=224)
    assert (sheared[:, 100, :194] == image[:, 100, 30:]).all() and (sheared[:, 100, 194:] == 128).all()
    sheared = apply("shear_y", sign=0.1, side=224)
    assert (sheared[:, 30:, 100] == image[:, :194, 100]).all() and (sheared[:, :30, 100] == 128).all()
    assert (apply("rotate", 30) == np.rot90(make_gradient(), -1, (1, 2))).all() or (
        apply("rotate", 30) == np.rot90(make_gradient(), 1, (1, 2))
    ).all()
    assert (apply("rotate", 0) == make_gradient()).all()


def test_cutout_is_a_square_that_may_cross_the_edge():
    result = apply("cutout", row=0.0, column=0.5, side=224)
    expected = make_gradient(224)
    expected[:, :40, 72:152] = 128
    assert (result == expected).all() and (apply("cutout", 0) == make_gradient()).all()


def collect_outcomes(function, times: int) -> set[str]:
    return {hashlib.sha256(np.ascontiguousarray(function(n)).tobytes()).hexdigest() for n in range(times)}


@pytest.mark.parametrize("magnitude", [10, 30])
def test_torchvision_operations_equal_its_randaugment(magnitude):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 37, 37), dtype=np.uint8)
    torchvision_op = v2.RandAugment(1, magnitude)

    def theirs(number: int) -> np.ndarray:
        torch.manual_seed(number)
        return torchvision_op(torch.from_numpy(pixels)).numpy()

    def ours(number: int) -> np.ndarray:
        which, sign = divmod(number, 2)
        return torchvision.OPERATIONS[which](pixels, magnitude, float(sign), 0.0, 0.0)

    assert collect_outcomes(ours, 28) == collect_outcomes(theirs, 300)


@pytest.mark.parametrize("library", ["big_vision", "torchvision"])
def test_operations_are_drawn_uniformly_and_the_draws_depend_on_the_image_index(library):
    images = torch.from_numpy(np.random.default_rng(0).random((1, 3, 16, 16), dtype=np.float32)) * 2 - 1
    many = images.repeat(2000, 1, 1, 1)
    RandAugment(library, 1, 4, seed=1)(many, 0, np.arange(2000))
    _, counts = many.flatten(1).unique(dim=0, return_counts=True)
    number = 16 if library == "big_vision" else 14
    assert len(counts) >= number and counts.min() > 2000 / number / 2 * 0.3
    again = images.repeat(3, 1, 1, 1)
    RandAugment(library, 1, 4, seed=1)(again, 0, np.array([7, 1999, 0]))
    assert torch.equal(again, many[[7, 1999, 0]])


def test_augmented_batches_are_the_same_in_memory_and_from_files():
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, 20, 20), dtype=np.uint8))
    view = CropView(20, "none", (1.0, 1.0), False, 0, True, [RandAugment("big_vision", 2, 10, 0)])
    together = view(pixels, 1, np.arange(6))
    apart = view(list(pixels), 1, np.arange(6))
    assert torch.equal(together, apart)
    values = (together + 1) * 127.5
    assert (values - values.round()).abs().max() < 1e-4, "of 8 bits, as any image"


@pytest.mark.parametrize("magnitude, res, blank", [(4, 32, True), (4, 41, False), (3, 32, False)])
def test_a_shift_out_of_the_image_is_named_where_it_leaves_a_blank_one(magnitude, res, blank):
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (400, 3, res, res))) / 127.5 - 1
    RandAugment("big_vision", 2, magnitude, seed=0)(images, 0, np.arange(len(images)))
    share = (images.flatten(2).amax(2) == images.flatten(2).amin(2)).all(1).double().mean()
    why = explain_blank_images("big_vision", 2, magnitude, res)
    assert bool(why) == blank and explain_blank_images("torchvision", 2, magnitude, res) is None
    if why:
        assert "23% of the training images" in why and share == pytest.approx(0.234, abs=0.06)
