"""Weights with timm's names load as the published network."""

import json
from dataclasses import replace

import pytest
import torch

from helpers.networks import build_randomized, compute_logits, make_inputs, tiny_vit_row
from vitrun import models
from vitrun.models.export.portable import export_tensors
from vitrun.models.formats import timm_names


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    "options", [{}, {"head": "map"}, {"patch": 4, "stem": 32}, {"patch": 1, "stem": 32, "resnet": (1, 1)}]
)
def test_a_plain_file_with_timm_names_loads_as_the_same_network(tmp_path, options, suffix):
    row = tiny_vit_row(
        width=192, depth=12, mlp=768, **options
    )  # the file does not give the heads: they come from the model table
    network = build_randomized(row)
    write_timm_names(tmp_path / f"w{suffix}", row, network)
    loaded = models.load(tmp_path / f"w{suffix}")
    assert replace(loaded.model, name="tiny") == row
    assert torch.equal(compute_logits(loaded.network, make_inputs()), compute_logits(network, make_inputs()))


def write_timm_names(path, row, network):
    """Save a plain state dict with timm's names."""
    from safetensors.torch import save_file

    tensors = export_tensors(timm_names.map_vit_tensors(row, scaled=False), network.state_dict())
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}}, path)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"pretrained_cfg": {"tag": "augreg_in21k"}}, "vit"),
        ({"pretrained_cfg": {"tag": "augreg2_in21k_ft_in1k"}}, "timm"),
        ({}, "timm"),
    ],
)
def test_a_timm_folder_loads_as_a_timm_network_unless_google_published_it(tmp_path, config, kind):
    import timm
    from safetensors.torch import save_file

    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=3)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_tiny_patch16_224", **config}))
    loaded = models.load(tmp_path)
    assert (loaded.model.kind, loaded.res) == (kind, 224) and len(loaded.report.lines()) == 4
    difference = (
        (compute_logits(loaded.network, make_inputs(224)) - compute_logits(theirs, make_inputs(224))).abs().max()
    )
    assert difference < 1e-6 if kind == "timm" else 1e-6 < difference < 1e-3  # GELU: the exact form, the tanh form
