"""A checkpoint of timm's training is computed and shown as timm does, by ``arch`` and ``args`` in it."""

import argparse
from pathlib import Path

import pytest
import timm
import torch
from timm.data import resolve_data_config
from timm.utils import CheckpointSaver

from helpers.networks import compute_logits, make_inputs
from vitrun import models
from vitrun.errors import ExitCode, UserError
from vitrun.runs.weights_view import find_weights_view

VIT = {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 3, "reg_tokens": 4}
SWIN = {"img_size": 32, "window_size": 4, "patch_size": 2, "depths": (1, 1), "embed_dim": 12, "num_heads": (1, 2)}


def save_checkpoint(folder, name, network_options, **args):
    """Train a network of three classes for a step and save it as timm's train.py does; return network and file."""
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=3, **network_options).eval()
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    network(torch.randn(2, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    args = argparse.Namespace(model=name, lr=0.1, **args) if args else None
    CheckpointSaver(network, optimizer, args, checkpoint_dir=folder, recovery_dir=folder).save_checkpoint(0, 0.5)
    return network, folder / "checkpoint-0.pth.tar"


@pytest.mark.parametrize(
    ("name", "options", "args"),
    [
        ("vit_tiny_patch16_224", VIT, {"mean": None, "std": None}),
        (
            "vit_tiny_patch16_224",
            VIT,
            {"mean": [0.4, 0.5, 0.6], "std": [0.2], "crop_pct": 0.8},
        ),
        ("swin_tiny_patch4_window7_224", SWIN, {"mean": None, "crop_mode": "squash", "img_size": 32}),
        ("resnet18.a1_in1k", {"block_args": {}}, {"mean": None, "gp": "max"}),
    ],
)
def test_logits_and_view_are_those_of_timm(tmp_path, name, options, args):
    built = options | ({"global_pool": args["gp"]} if "gp" in args else {})
    theirs, file = save_checkpoint(tmp_path, name, built, model_kwargs=options, **args)
    data = resolve_data_config(args, model=theirs)
    loaded = models.load(file, res=32)
    mean, std = (torch.tensor(data[key]).view(3, 1, 1) for key in ("mean", "std"))
    expected = compute_logits(theirs, (make_inputs() / 2 + 0.5 - mean) / std)
    torch.testing.assert_close(compute_logits(loaded.network, make_inputs()), expected, rtol=1e-5, atol=1e-5)
    assert loaded.model.kind == "timm" and not any("assumed" in line for line in loaded.report.lines())
    view = find_weights_view(f"{file}#012345678901", Path("runs"))
    assert (view.options["crop"], view.options["interpolation"]) == (data["crop_pct"], data["interpolation"])
    assert (view.options["resize"] == "squash") == (data["crop_mode"] == "squash") and name in view.source


def test_a_file_of_arch_alone_says_what_is_assumed(tmp_path):
    network = timm.create_model("resnet18", num_classes=3)
    torch.save({"arch": "resnet18", "state_dict": network.state_dict()}, tmp_path / "w.pth.tar")
    loaded = models.load(tmp_path / "w.pth.tar")
    assert loaded.model.name == "resnet18" and "timm's default for resnet18" in "".join(loaded.report.lines())


def test_a_vit_that_is_not_the_named_one_is_read_by_its_tensors_and_that_is_said(tmp_path):
    small = {"img_size": 32, "patch_size": 8}
    _, file = save_checkpoint(tmp_path, "vit_tiny_patch16_224", small, mean=None)
    loaded = models.load(file)
    assert loaded.model.kind == "vit" and "only the tensors are followed" in "".join(loaded.report.lines())


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ({"model_kwargs": [1]}, "model_kwargs"),
        ({"model_kwargs": {"features_only": True}}, "features_only"),
        ({"mean": [1.0, 2.0]}, "images"),
        ({"in_chans": 5}, "5 channels"),
    ],
)
def test_arguments_that_vitrun_cannot_follow_are_refused_with_the_reason(tmp_path, args, reason):
    network = timm.create_model("resnet18", num_classes=3)
    content = {"state_dict": network.state_dict(), "args": argparse.Namespace(model="resnet18", **args)}
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=reason) as error:
        models.load(tmp_path / "w.pth")
    assert error.value.status == ExitCode.CHECKPOINT and len(str(error.value)) < 400
