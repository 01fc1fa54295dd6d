"""Folders of ``timm.models.save_for_hf`` are computed as timm computes them, or refused."""

import json

import pytest
import timm
import torch

from helpers.networks import compute_logits, make_inputs
from vitrun import models
from vitrun.errors import ExitCode, UserError
from vitrun.models.export import Description, export_model

VIT = {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 3}
SWIN = {"img_size": 32, "window_size": 4, "patch_size": 2, "depths": (1, 1), "embed_dim": 12, "num_heads": (1, 2)}


def save_folder(folder, name, changes=None, **options):
    """Save an untrained network of three classes with timm, with other values in its config.json; return it."""
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=3, **options).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    labels = {"label_names": ["dog", "cat", "eel"]}
    timm.models.save_for_hf(network, folder, safe_serialization=True, model_config=labels)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | (changes or {})))
    return network


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224.augreg_in21k", VIT),  # a tag of Google's, inherited
        ("vit_tiny_patch16_224", {**VIT, "reg_tokens": 4, "init_values": 1e-5, "act_layer": "relu", "qkv_bias": False}),
        ("swin_tiny_patch4_window7_224", SWIN),
        ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)}),
    ],
)
def test_a_folder_of_timm_has_the_logits_names_and_options_of_timm(tmp_path, name, options):
    theirs = save_folder(tmp_path, name, **options)
    loaded = models.load(tmp_path, res=32)
    mean, std = (torch.tensor(theirs.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    expected = compute_logits(theirs, (make_inputs() / 2 + 0.5 - mean) / std)
    torch.testing.assert_close(compute_logits(loaded.network, make_inputs()), expected, rtol=1e-5, atol=1e-5)
    assert (loaded.model.kind, loaded.names) == ("timm", ("dog", "cat", "eel"))
    models.save_model(tmp_path / "again.safetensors", loaded.network, loaded.model, 3, 32, loaded.names)
    again = models.load(tmp_path / "again.safetensors")
    assert torch.equal(compute_logits(again.network, make_inputs()), compute_logits(loaded.network, make_inputs()))
    export_model(loaded.network, 32, "timm", tmp_path / "exported", "", Description(loaded.names))
    exported = timm.create_model(f"local-dir:{tmp_path / 'exported'}", pretrained=True)
    torch.testing.assert_close(
        compute_logits(exported, (make_inputs() / 2 + 0.5 - mean) / std), expected, rtol=1e-5, atol=1e-5
    )


def test_a_network_of_timm_that_transformers_saved_is_computed_as_in_timm(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    sizes = {"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 16]}
    config = {"architecture": "convnext_atto", "model_args": sizes, "id2label": {0: "dog", 1: "cat"}}
    theirs = transformers.TimmWrapperForImageClassification(transformers.TimmWrapperConfig(**config)).eval()
    theirs.save_pretrained(tmp_path)
    loaded = models.load(tmp_path, res=32)
    mean, std = (torch.tensor(theirs.timm_model.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = theirs((make_inputs() / 2 + 0.5 - mean) / std).logits
    torch.testing.assert_close(compute_logits(loaded.network, make_inputs()), expected, rtol=1e-5, atol=1e-5)
    assert loaded.names == ("dog", "cat")


def test_a_position_table_of_another_size_than_config_json_says_gives_the_size_of_the_images(tmp_path):
    save_folder(tmp_path, "vit_tiny_patch16_224", {"model_args": {**VIT, "img_size": 224}}, **VIT)
    loaded = models.load(tmp_path)
    assert loaded.res == 32 and any("32 is used" in line for line in loaded.report.lines())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_args": {**VIT, "checkpoint_path": "other.pth"}}, "checkpoint_path"),
        ({"model_args": {**VIT, "img_size": [32, 64]}}, "32x64 pixels"),
        ({"model_args": {**VIT, "in_chans": 1}}, "1 channel; "),
        ({"model_args": {**VIT, "act_layer": "no_such_layer"}}, "timm cannot build"),
        ({"model_args": {**VIT, "depth": 3}}, "lack blocks.2"),
        ({"label_names": ["dog", "cat"]}, "2 label_names"),
        ({"pretrained_cfg": {"mean": [0.5]}}, "mean .0.5. and std"),
        ({"pretrained_cfg": {"input_size": 32}}, "input_size=32, which must be a list of three whole numbers"),
        ({"pretrained_cfg": [1]}, "pretrained_cfg=.1., which must be an object"),
        ({"architecture": 3}, "architecture=3, which must be text"),
        ({"pretrained_cfg": {"classifier": ["head", "head_dist"]}}, "head and head_dist"),
    ],
)
def test_a_folder_that_vitrun_cannot_follow_is_refused_with_the_reason(tmp_path, changes, reason):
    save_folder(tmp_path, "vit_tiny_patch16_224", changes, **VIT)
    with pytest.raises(UserError, match=reason) as caught:
        models.load(tmp_path)
    assert caught.value.status == ExitCode.CHECKPOINT
