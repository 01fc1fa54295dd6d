"""Loading with another head and resolution; the load report counts loaded, resized, dropped and new tensors."""

import json
import os
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from helpers.networks import MODEL_ROWS, build_randomized, compute_logits, make_inputs, tiny_vit_row, to_jax_arrays
from vitrun import models
from vitrun.errors import ExitCode, UserError


@pytest.mark.parametrize("kind", ["learned", "2d", "relative", "sincos2d", "none"])
@pytest.mark.parametrize("at", ["stem", "every"])
def test_a_saved_file_describes_its_network_completely(tmp_path, kind, at):
    row = tiny_vit_row(positions=kind, positions_at=at, dropout=0.1, stochastic_depth=0.2, head="map", pre_logits=True)
    network = build_randomized(row)
    models.save_model(tmp_path / "w.safetensors", network, row, 5, 32)
    loaded = models.load(tmp_path / "w.safetensors")
    assert (loaded.model, loaded.classes, loaded.res) == (row, 5, 32)
    assert loaded.report.lines()[1:] == ["resized 0", "dropped 0", "new 0"]
    assert torch.equal(compute_logits(loaded.network, make_inputs()), compute_logits(network, make_inputs()))
    other = build_randomized(row, seed=9)
    models.restore_weights(other, tmp_path / "w.safetensors")
    assert torch.equal(compute_logits(other, make_inputs()), compute_logits(network, make_inputs()))


def test_a_timm_baseline_keeps_its_weights_and_its_image_normalization(tmp_path):
    row = replace(MODEL_ROWS["timm"], name="convnext_atto")
    network = build_randomized(row, res=64)
    network.set_normalization([0.4, 0.5, 0.6], [0.2, 0.25, 0.3])
    models.save_model(tmp_path / "w.safetensors", network, row, 5, 64)
    loaded = models.load(tmp_path / "w.safetensors")
    assert loaded.model == row
    assert torch.equal(compute_logits(loaded.network, make_inputs(64)), compute_logits(network, make_inputs(64)))
    again = models.load(tmp_path / "w.safetensors", classes=3, res=96)
    assert compute_logits(again.network, make_inputs(96)).shape == (2, 3)
    assert again.report.lines()[2:] == ["dropped 2: head of 5 classes (2)", "new 2: zero head of 3 classes (2)"]


def test_the_resolution_of_a_timm_baseline_is_changed_by_timm(tmp_path):
    row = replace(MODEL_ROWS["timm"], name="deit_tiny_patch16_224")
    network = build_randomized(row, res=32)
    models.save_model(tmp_path / "w.safetensors", network, row, 5, 32)
    loaded = models.load(tmp_path / "w.safetensors", res=48)
    assert loaded.report.lines()[1] == "resized 1: for 48 by timm (1)"
    assert compute_logits(loaded.network, make_inputs(48)).shape == (2, 5)


def test_a_new_head_and_resolution_are_reported_with_counts_and_sizes(tmp_path):
    row, network = tiny_vit_row(pre_logits=True), build_randomized(tiny_vit_row(pre_logits=True))
    np.savez(tmp_path / "w.npz", **to_jax_arrays(row, network), **{"io/logits": np.zeros(3)})
    loaded = models.load(tmp_path / "w.npz", classes=3, res=56)
    assert loaded.report.lines() == [
        "loaded 29 tensors of vit_48x2p8, 48 wide",
        "resized 1: position table 4x4 -> 7x7 (1)",
        "dropped 5: pre-logits layer (2), head of 5 classes (2), inputs and outputs (1)",
        "new 2: zero head of 3 classes (2)",
    ]
    assert not loaded.network.head.weight.any() and not loaded.network.head.bias.any()
    assert not loaded.model.pre_logits and loaded.network.pos_embed.shape == (1, 50, 48)
    assert not any(parameter.is_meta or not parameter.requires_grad for parameter in loaded.network.parameters())


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("2d", "resized 2: rows and columns 4 -> 6 (2)"),
        ("relative", "resized 1: relative offsets 33 -> 73 (1)"),
        ("learned", "resized 1: position table 4x4 -> 6x6 (1)"),
    ],
)
def test_every_kind_of_positions_follows_the_resolution(tmp_path, kind, line):
    row = tiny_vit_row(positions=kind, positions_at="every")
    models.save_model(tmp_path / "w.safetensors", build_randomized(row), row, 5, 32)
    loaded = models.load(tmp_path / "w.safetensors", res=48)
    assert line == loaded.report.lines()[1]
    assert compute_logits(loaded.network, make_inputs(48)).shape == (2, 5)


def test_fixed_positions_are_computed_for_the_new_resolution(tmp_path):
    row = tiny_vit_row(positions="sincos2d")
    models.save_model(tmp_path / "w.safetensors", build_randomized(row), row, 5, 32)
    loaded = models.load(tmp_path / "w.safetensors", res=48)
    assert torch.equal(loaded.network.pos_embed, models.build(row, 5, 48).pos_embed)


def test_a_head_of_zeros_is_reported(tmp_path):
    row = tiny_vit_row()
    models.save_model(tmp_path / "w.safetensors", models.build(row, 5, 32), row, 5, 32)
    assert "all zeros" in models.load(tmp_path / "w.safetensors").report.lines()[-1]


def test_the_error_names_unexpected_and_missing_tensors(tmp_path):
    row, network = tiny_vit_row(), build_randomized(tiny_vit_row())
    arrays = to_jax_arrays(row, network)
    np.savez(tmp_path / "w.npz", **arrays, register_token=np.zeros(3))
    with pytest.raises(UserError, match="vit_48x2p8, 48 wide, which has no place for register_token") as error:
        models.load(tmp_path / "w.npz")
    assert error.value.status == ExitCode.CHECKPOINT
    del arrays["Transformer/encoder_norm/scale"]
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(UserError, match="lack Transformer/encoder_norm/scale"):
        models.load(tmp_path / "w.npz")


def test_the_error_for_weights_of_another_network_names_it(tmp_path):
    models.save_model(
        tmp_path / "w.safetensors", build_randomized(MODEL_ROWS["vit_ti4"], res=8), MODEL_ROWS["vit_ti4"], 5, 8
    )
    with pytest.raises(UserError, match=r"these weights are vit_ti4, 192 wide; the network is tiny, 48 wide") as error:
        models.restore_weights(build_randomized(tiny_vit_row()), tmp_path / "w.safetensors")
    assert error.value.status == ExitCode.CHECKPOINT


def test_a_saved_file_has_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        models.save_model(tmp_path / "w.safetensors", build_randomized(tiny_vit_row()), tiny_vit_row(), 5, 32)
    finally:
        os.umask(before)
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o777 == 0o640
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]
    assert json.loads(models.read_weights(tmp_path / "w.safetensors").metadata["vitrun"])["model"] == asdict(
        tiny_vit_row()
    ) | {"resnet": []}


def test_dropout_is_set_in_every_dropout_layer():
    row = tiny_vit_row()
    loaded = models.LoadedModel(build_randomized(row), row, 5, 32, None)
    dropped = models.with_noise(loaded, 0.25)
    anew = [
        module.p
        for module in build_randomized(replace(row, dropout=0.25)).modules()
        if isinstance(module, torch.nn.Dropout)
    ]
    assert [m.p for m in dropped.network.modules() if isinstance(m, torch.nn.Dropout)] == anew and set(anew) == {0.25}
    deeper = models.with_noise(loaded, None, 0.5).network
    skips = [block.skip for block in models.build(replace(row, stochastic_depth=0.5), 5, 32).blocks]
    assert [block.skip for block in deeper.blocks] == skips and skips[-1] == 0.5
    assert dropped.model.dropout == 0.25 and models.with_noise(dropped, None) is dropped
    other = replace(loaded, model=MODEL_ROWS["igpt_nano"])
    assert models.with_noise(other, 0.0) is other, "which has none"
    with pytest.raises(UserError, match="igpt_nano, which has none") as error:
        models.with_noise(other, 0.1)
    assert (error.value.option, error.value.value) == ("dropout", "0.1")
