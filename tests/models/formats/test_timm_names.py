"""Weights with timm's names load as the published network."""

from dataclasses import replace

import pytest
import torch

from helpers.networks import build_randomized, compute_logits, make_inputs, tiny_vit_row
from vitrun import models
from vitrun.errors import UserError
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


def test_a_file_says_in_one_line_what_is_assumed(tmp_path):
    row = tiny_vit_row(width=192, depth=12, mlp=768)
    write_timm_names(tmp_path / "w.pth", row, build_randomized(row))
    (note,) = [line for line in models.load(tmp_path / "w.pth").report.lines() if line.startswith("note: ")]
    facts = ("3 heads", "square images of 32 pixels", "tanh form of GELU", "epsilon 1e-06", "[-1, 1]", "config.json")
    assert all(fact in note for fact in facts)


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("patch_embed.proj.weight", (192, 3, 16, 8), "its patches are 16x8 pixels"),
        ("patch_embed.proj.weight", (192, 1, 8, 8), "1 channel; "),
        ("pos_embed", (1, 13, 192), "13 rows, which is not a square grid"),
    ],
)
def test_a_file_of_images_that_are_not_square_or_have_no_three_channels_is_refused(tmp_path, name, shape, reason):
    row = tiny_vit_row(width=192, depth=12, mlp=768)
    tensors = dict(build_randomized(row).state_dict()) | {name: torch.zeros(shape)}
    torch.save(tensors, tmp_path / "w.pth")
    with pytest.raises(UserError, match=reason):
        models.load(tmp_path / "w.pth")


def test_a_part_that_only_timm_has_is_named_with_the_way_out(tmp_path):
    row = tiny_vit_row(width=192, depth=12, mlp=768)
    torch.save(dict(build_randomized(row).state_dict()) | {"reg_token": torch.zeros(1, 4, 192)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="it has registers.*save_for_hf"):
        models.load(tmp_path / "w.pth")


def test_the_decoder_of_a_masked_autoencoder_is_dropped_and_named(tmp_path):
    row = tiny_vit_row(width=192, depth=12, mlp=768)
    network = build_randomized(row)
    tensors = export_tensors(timm_names.map_vit_tensors(row, scaled=False), network.state_dict())
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("head.")}
    decoder = ("mask_token", "decoder_pos_embed", "decoder_embed.weight", "decoder_blocks.0.norm1.weight")
    torch.save({"model": tensors | {name: torch.ones(4) for name in decoder}}, tmp_path / "mae.pth")
    loaded = models.load(tmp_path / "mae.pth", classes=3)
    assert torch.equal(loaded.network.state_dict()["norm.weight"], network.state_dict()["norm.weight"])
    assert f"{timm_names.MAE_DECODER} (4)" in "\n".join(loaded.report.lines())


def test_biases_that_the_file_lacks_in_every_layer_are_zero(tmp_path):
    row = tiny_vit_row(width=192, depth=12, mlp=768)
    network = build_randomized(row)
    for block in network.blocks:
        torch.nn.init.zeros_(block.attn.qkv.bias)
    tensors = {name: t for name, t in network.state_dict().items() if not name.endswith(".qkv.bias")}
    torch.save(tensors, tmp_path / "w.pth")
    loaded = models.load(tmp_path / "w.pth")
    assert torch.equal(compute_logits(loaded.network, make_inputs()), compute_logits(network, make_inputs()))
    assert any("new 12: zero" in line for line in loaded.report.lines())
