"""An export is shown by its library as by vitrun, and again when vitrun evaluates it."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import timm
from PIL import Image
from timm.data import create_transform, resolve_data_config

from helpers.images import make_scenes
from helpers.networks import build_randomized, tiny_vit_row
from vitrun.data.transforms.views import CenterCropView
from vitrun.models.export import Description, export_model, list_losses
from vitrun.models.export.view import ONE_PIXEL
from vitrun.recipes import View
from vitrun.runs.weights_view import find_weights_view

SCENES = [Image.fromarray(scene).resize((90, 71)) for scene in make_scenes(2, 0)]
SQUASHED = View(resize="squash", crop=1.0, antialias=True, interpolation="bilinear", fill=(128, 128, 128))


def view(resize, crop=1.0, interpolation="bilinear", antialias=True, fill=(128, 128, 128)) -> View:
    """Return a view."""
    return View(resize=resize, crop=crop, antialias=antialias, interpolation=interpolation, fill=fill)


def show(options) -> np.ndarray:
    """Return vitrun's view of the scenes at 48 pixels, in levels of 255."""
    import torch

    pixels = torch.stack([torch.from_numpy(np.array(scene)).permute(2, 0, 1) for scene in SCENES])
    return ((CenterCropView(48, **options)(list(pixels)) + 1) * 127.5).numpy()


def export(folder, to, shown, **description):
    """Export a small network for images of 48 pixels that are shown so; return the folder."""
    export_model(build_randomized(tiny_vit_row(), res=48), 48, to, folder, "", Description((), shown, **description))
    return folder


@pytest.mark.parametrize(
    "shown",
    [
        view("shortest", 0.9, "bicubic"),
        view("squash", 0.875),
        view("square", interpolation="bicubic"),
        view("border", 0.8),
        view("small", 0.875),
    ],
)
def test_timm_shows_an_exported_folder_as_the_run_did(shown, tmp_path):
    folder = export(tmp_path / "it", "timm", shown)
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True)
    transform = create_transform(**resolve_data_config({}, model=theirs), normalize=False)
    expected = np.stack([transform(scene) for scene in SCENES])
    options = find_weights_view(f"{folder}#012345678901", tmp_path).options
    np.testing.assert_allclose(show(options), expected, atol=0.01)
    if ONE_PIXEL not in list_losses(shown, "timm", [0.5] * 3):
        np.testing.assert_allclose(show(asdict(shown)), expected, atol=1.01)


@pytest.mark.parametrize(
    "shown", [view("shortest_edge", 0.9, "bicubic"), view("squash", 0.875), view("square"), view("small", 0.875)]
)
def test_transformers_shows_an_exported_folder_as_the_run_did(shown, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    folder = export(tmp_path / "it", "hf", shown)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    pixels = np.concatenate([processor(scene, return_tensors="np")["pixel_values"] for scene in SCENES])
    options = find_weights_view(f"{folder}#012345678901", tmp_path).options
    alike = ONE_PIXEL not in list_losses(shown, "hf", [0.5] * 3)
    for ours in (options, asdict(shown))[: 1 + alike]:
        np.testing.assert_allclose(show(ours), (pixels + 1) * 127.5, atol=1.01)


def test_a_size_of_testing_is_kept_beside_that_of_training(tmp_path):
    folder = export(tmp_path / "it", "timm", view("shortest", 1.0, "bicubic"), test_res=64, train_crop=0.875)
    pin = f"{folder}#012345678901"
    assert (find_weights_view(pin, tmp_path).res, find_weights_view(pin, tmp_path).options["crop"]) == (64, 1.0)
    assert find_weights_view(pin, tmp_path, 48).options["crop"] == 0.875
    config = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    assert (config["input_size"], config["test_input_size"]) == ([3, 48, 48], [3, 64, 64])


def test_an_npz_of_ours_has_its_own_view_and_is_read_by_numpy(tmp_path):
    shown = view("small_area", 0.875, antialias=False, fill=(1, 2, 3))
    file = export(tmp_path / "it.npz", "npz", shown)
    assert find_weights_view(f"{file}#012345678901", tmp_path).options == asdict(shown) | {"fill": [1, 2, 3]}
    assert "cls" in np.load(file)


@pytest.mark.parametrize(
    ("shown", "to", "losses"),
    [
        (SQUASHED, "timm", []),
        (view("square", antialias=False), "hf", ["images are resized with antialias"]),
        (view("small_area"), "timm", ["pixels are interpolated (bilinear), not means of areas", ONE_PIXEL]),
        (view("border", fill=(0, 0, 0)), "timm", ["the border has the colour [128, 128, 128], not [0, 0, 0]"]),
        (view("border"), "hf", ["images are cropped instead of bordered"]),
        (view("shortest"), "timm", []),
        (SQUASHED, "onnx", ["an .onnx has no view"]),
    ],
)
def test_what_the_other_library_cannot_say_of_a_view_is_listed(shown, to, losses):
    assert list_losses(shown, to, [0.5] * 3) == losses
