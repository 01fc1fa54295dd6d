"""The view that weights bring is that which their library makes of them."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_data_config
from transformers import (
    CLIPImageProcessor,
    DeiTImageProcessor,
    DetrImageProcessor,
    ViTImageProcessor,
    YolosImageProcessor,
)

from helpers.images import make_scenes
from vitrun.config import resolve
from vitrun.data.transforms.views import CenterCropView
from vitrun.errors import ExitCode, UserError
from vitrun.runs.weights_view import WeightsView, find_weights_view

SCENES = [Image.fromarray(scene).resize((90, 71)) for scene in make_scenes(2, 0)]


def show(view: WeightsView, res: int) -> np.ndarray:
    """Return the view of the scenes in levels of 255."""
    pixels = torch.stack([torch.from_numpy(np.array(scene)).permute(2, 0, 1) for scene in SCENES])
    return ((CenterCropView(res, **view.options)(list(pixels)) + 1) * 127.5).numpy()


@pytest.mark.parametrize(
    "tag", ["vit_base_patch16_224.orig_in21k_ft_in1k", "convnext_tiny.fb_in1k", "convnext_tiny.fb_in22k_ft_in1k_384"]
)
@pytest.mark.parametrize("res", [None, 224, 256])
def test_the_view_of_a_tag_is_that_of_validating_with_timm(tag, res):
    """With the size of training it is the view of training; with any other, and with none, that of testing."""
    config = timm.get_pretrained_cfg(tag)
    view = find_weights_view(f"timm:{tag}", Path("runs"), res)
    of_testing = config.test_input_size is not None and res != config.input_size[-1]
    theirs = resolve_data_config({"img_size": res}, config.to_dict(), use_test_size=of_testing)
    assert view.res == (config.test_input_size[-1] if of_testing else None)
    side = theirs["input_size"][-1]
    expected = np.stack([create_transform(**theirs, normalize=False)(scene) for scene in SCENES])
    np.testing.assert_allclose(show(view, side), expected, atol=0.01)


@pytest.mark.parametrize(
    "processor",
    [
        ViTImageProcessor(size={"height": 48, "width": 48}),
        ViTImageProcessor(size=48, resample=3),
        DeiTImageProcessor(size=58, crop_size=48),
        CLIPImageProcessor(size={"shortest_edge": 49}, crop_size=48),
        CLIPImageProcessor(size={"shortest_edge": 48}, do_center_crop=False),
    ],
)
def test_the_view_of_a_folder_is_that_of_its_processor(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    view = find_weights_view(f"{tmp_path}#012345678901", tmp_path)
    options = {"do_rescale": False, "do_normalize": False, "return_tensors": "np"}
    expected = np.concatenate([processor(scene, **options)["pixel_values"] for scene in SCENES])
    if expected.shape[-1] > 48:  # the model would refuse it: vitrun crops
        left = (expected.shape[-1] - 48) // 2
        expected = expected[..., left : left + 48]
    np.testing.assert_allclose(show(view, 48), expected, atol=1.01)


def test_the_view_of_a_folder_of_a_detector_is_a_rectangle_and_another_limit_is_named(tmp_path):
    name = f"{tmp_path}#012345678901"
    (tmp_path / "config.json").write_text("{}")
    for processor, resize in ((DetrImageProcessor, "rectangle"), (YolosImageProcessor, "rectangle_16")):
        processor().save_pretrained(tmp_path)
        view = find_weights_view(name, tmp_path)
        assert (view.options["resize"], view.options["fill"], view.res) == (resize, [124, 116, 104], 800)
        assert view.source == "preprocessor_config.json of these weights"
    YolosImageProcessor(size={"shortest_edge": 512, "longest_edge": 1333}).save_pretrained(tmp_path)
    assert "at most 853 pixels, where it has 1333" in find_weights_view(name, tmp_path).source


def test_the_view_of_a_folder_of_timm_is_in_its_config(tmp_path):
    config = {"input_size": [3, 224, 224], "crop_pct": 0.8, "crop_mode": "border", "mean": [0.1, 0.2, 1.0]}
    for content in ({"architecture": "x", "pretrained_cfg": config}, {"architecture": "x", **config}):
        (tmp_path / "config.json").write_text(json.dumps(content))
        view = find_weights_view(f"{tmp_path}#012345678901", tmp_path)
        assert view.options["resize"] == "border" and view.options["fill"] == [26, 51, 255]
        assert (view.options["crop"], view.options["interpolation"]) == (0.8, "bicubic"), "timm's default"


def test_the_view_of_a_folder_of_open_clip_is_in_its_config(tmp_path):
    for config, resize in (({}, "shortest_edge"), ({"resize_mode": "squash", "interpolation": "bilinear"}, "squash")):
        content = json.dumps({"model_cfg": {}, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], **config}})
        (tmp_path / "open_clip_config.json").write_text(content)
        view = find_weights_view(f"{tmp_path}#012345678901", tmp_path)
        assert (view.options["resize"], view.options["crop"]) == (resize, 1.0)
        assert view.options["interpolation"] == config.get("interpolation", "bicubic")
    content = json.dumps({"preprocess_cfg": {"resize_mode": "longest", "mean": [0.5, 0.5, 0.5]}})
    (tmp_path / "open_clip_config.json").write_text(content)
    with pytest.raises(UserError, match="resize_mode longest"):
        find_weights_view(f"{tmp_path}#012345678901", tmp_path)


def test_a_file_of_a_clip_alone_and_a_published_row_have_clips_own_view(tmp_path):
    expected = {"resize": "shortest_edge", "crop": 1.0, "antialias": True, "interpolation": "bicubic"}
    names = ("visual.conv1.weight", "token_embedding.weight", "text_projection")
    tensors = {f"module.{name}": torch.zeros(1) for name in names}
    torch.save({"epoch": 1, "state_dict": tensors}, tmp_path / "epoch_1.pt")
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "clip.safetensors")
    for init in (f"{tmp_path}/epoch_1.pt#012345678901", f"{tmp_path}/clip.safetensors#012345678901", "random:clip_b32"):
        view = find_weights_view(init, tmp_path)
        assert view.options == expected and view.source.startswith("CLIP's own code"), init
    folder = tmp_path / "tower"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "clip_vision_model"}')
    (folder / "model.safetensors").write_bytes(b"")
    assert find_weights_view(f"{folder}#012345678901", tmp_path).options == expected
    save_file({"cls_token": torch.zeros(1)}, tmp_path / "vit.safetensors")
    for init in (f"{tmp_path}/vit.safetensors#012345678901", "random:vit_b16"):
        assert find_weights_view(init, tmp_path).options == {}


def test_a_published_npz_is_shown_as_by_google(tmp_path):
    (tmp_path / "B_16.npz").write_bytes(b"")
    recipe = resolve.resolve_recipe("eval", [f"init={tmp_path / 'B_16.npz'}", "data=digits"])
    assert (recipe.view.resize, recipe.view.crop, recipe.view.antialias) == ("square", 1, False)


def test_overrides_win_over_the_view_of_the_weights(tmp_path):
    CLIPImageProcessor(size={"shortest_edge": 30}, crop_size=24).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    overrides = [f"init={tmp_path}", "data=digits", "view.crop=1"]
    view = asdict(resolve.resolve_recipe("eval", overrides).view)
    assert (view["resize"], view["interpolation"], view["crop"]) == ("shortest_edge", "bicubic", 1)
    for views in (["view.crop=0.875"], []):  # other protocols do not ask the weights
        recipe = resolve.resolve_recipe("fewshot", [f"init={tmp_path}", "data=digits", *views])
        assert recipe.view.resize == "square"


@pytest.mark.parametrize(
    "config",
    [
        {"size": {"longest_edge": 9}},
        {"resample": 1},
        {"image_processor_type": "ConvNextImageProcessor"},
        {"image_processor_type": "DetrImageProcessor", "resample": 0},
        {"image_processor_type": "YolosImageProcessor", "size": {"longest_edge": 9}},
    ],
)
def test_a_view_that_vitrun_lacks_is_refused_unless_overrides_choose_another(config, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    overrides = [f"init={tmp_path}", "data=digits", "view.resize=square", "view.interpolation=bilinear"]
    with pytest.raises(UserError, match=r"view\.crop=") as error:
        resolve.resolve_recipe("eval", overrides)
    assert error.value.status == ExitCode.CHECKPOINT and len(str(error.value)) < 400
    assert resolve.resolve_recipe("eval", [*overrides, "view.crop=1"]).view.resize == "square"


def test_the_view_of_weights_of_torchvision_is_that_of_its_transforms():
    from torchvision.models import ViT_B_16_Weights

    for name in ("IMAGENET1K_V1", "IMAGENET1K_SWAG_E2E_V1"):
        preset = ViT_B_16_Weights[name].transforms()
        preset.mean, preset.std = [0.0] * 3, [1 / 255] * 3
        view = find_weights_view(f"torchvision:vit_b_16.{name}", Path("runs"))
        np.testing.assert_allclose(
            show(view, preset.crop_size[0]), np.stack([preset(scene) for scene in SCENES]), atol=0.01
        )
        assert view.res == preset.crop_size[0]
