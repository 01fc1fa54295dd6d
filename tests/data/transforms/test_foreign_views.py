"""Test views equal those of timm, and those of transformers but for one level of 255."""

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from torch.nn import functional
from transformers import CLIPImageProcessor, DeiTImageProcessor, ViTImageProcessor

from vitrun.data.decode import decode_image
from vitrun.data.transforms.views import FRAMES, CenterCropView

SIDES = ((375, 500), (500, 333), (63, 41), (64, 203), (97, 97))


def draw_photograph(high: int, wide: int) -> torch.Tensor:
    """Return an image [3, high, wide] with coarse and fine structure, and edges."""
    noise = torch.Generator().manual_seed(high * wide)
    image = torch.zeros(1, 3, high, wide)
    for side in (3, 12, 60):
        coarse = torch.randn(1, 3, side, side, generator=noise)
        image += functional.interpolate(coarse, (high, wide), mode="bicubic") * 40
    image += (image > 20) * 90 + torch.randn(1, 3, high, wide, generator=noise) * 8
    return (image[0] + 90).clamp(0, 255).to(torch.uint8)


def to_pil(image: torch.Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def largest_difference(view: CenterCropView, images: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """Return the levels by which the views of single images, and of images of one size, differ from theirs."""
    single = (view(images) + 1) * 127.5
    together = torch.cat([(view(image[None]) + 1) * 127.5 for image in images])
    theirs = torch.stack(expected).float()
    return max(float((ours - theirs).abs().max()) for ours in (single, together))


@pytest.mark.parametrize("mode, resize", [("center", "shortest"), ("squash", "squash"), ("border", "border")])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("res, crop", [(64, 0.9), (61, 0.875), (48, 1.0)])
def test_a_view_is_that_of_timm(mode, resize, interpolation, res, crop):
    images = [draw_photograph(*sides) for sides in SIDES]
    theirs = create_transform(
        (3, res, res), crop_pct=crop, crop_mode=mode, interpolation=interpolation, mean=(0.2, 0.4, 0.9), normalize=False
    )
    fill = tuple(round(255 * mean) for mean in (0.2, 0.4, 0.9))
    view = CenterCropView(res, crop, resize, interpolation=interpolation, fill=fill)
    assert largest_difference(view, images, [theirs(to_pil(image)) for image in images]) < 0.01


@pytest.mark.parametrize(
    "processor, view",
    [
        (ViTImageProcessor(size={"height": 60, "width": 60}), CenterCropView(60, 1.0, "square")),
        (DeiTImageProcessor(size=70, crop_size=60), CenterCropView(60, 60 / 70, "square", interpolation="bicubic")),
        (
            CLIPImageProcessor(size={"shortest_edge": 61}, crop_size=56),
            CenterCropView(56, 56 / 61, "shortest_edge", interpolation="bicubic"),
        ),
    ],
)
def test_a_view_is_that_of_a_processor_of_transformers(processor, view):
    images = [draw_photograph(*sides) for sides in SIDES]
    options = {"do_rescale": False, "do_normalize": False, "return_tensors": "pt"}
    expected = [processor(to_pil(image), **options)["pixel_values"][0] for image in images]
    assert largest_difference(view, images, expected) < 1.01


@pytest.mark.shared
def test_views_of_photographs_are_those_of_timm(shared):
    (file,) = (shared / "data" / "imagenet_real_sample").glob("*.parquet")
    first = next(pyarrow.parquet.ParquetFile(file).iter_batches(40, columns=["image"]))["image"].to_pylist()
    images = [torch.from_numpy(decode_image(image["bytes"]).copy()) for image in first]
    theirs = create_transform((3, 224, 224), crop_pct=0.9, interpolation="bicubic", normalize=False)
    actual = (CenterCropView(224, 0.9, "shortest", interpolation="bicubic")(images) + 1) * 127.5
    expected = torch.stack([theirs(to_pil(image)) for image in images]).float()
    assert len(images) == 40 and (actual - expected).abs().max() < 0.01


def test_the_shorter_side_is_resized_in_float32_as_in_big_vision():
    """195 * (224 / 192) is 227.5, which is rounded to 228; in float32 it is less."""
    sides = np.array([(192, 195), (195, 192)])
    assert FRAMES["small_area"](sides, 224, 1.0).tolist() == [[224, 227, 0, 1], [227, 224, 1, 0]]


def test_a_thin_image_is_resized_only_where_it_is_visible():
    thin = draw_photograph(5, 700)
    full = CenterCropView(40, resize="shortest", interpolation="bicubic")([thin])
    theirs = create_transform((3, 40, 40), crop_pct=1.0, interpolation="bicubic", normalize=False)(to_pil(thin))
    assert ((full[0] + 1) * 127.5 - theirs.float()).abs().max() < 1.01
