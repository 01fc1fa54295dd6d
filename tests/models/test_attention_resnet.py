"""Attention beside and in place of convolutions is that of the definitions; the networks have the published sizes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vitrun import models
from vitrun.models.grid_attention import AttentionStem, AugmentedConv
from vitrun.models.window_attention import WindowAttention, from_blocks
from vitrun.recipes import tables

ROWS = tables.load_model_rows()
NANO = ["resnet_nano", "aa_resnet_nano", "sasa_nano"]


def load_golden(shared, name):
    """Return the arrays of a file of reference vectors, in float64."""
    arrays = np.load(shared / "golden" / "family" / f"{name}.npz")
    return {key: torch.from_numpy(array).double() for key, array in arrays.items() if array.ndim}


def set_weights(module, **weights):
    """Set the tensors of a module."""
    state = module.double().state_dict()
    module.load_state_dict(state | {name: weight.reshape(state[name].shape) for name, weight in weights.items()})


@pytest.mark.shared
def test_attention_beside_a_convolution_is_that_of_the_formula(shared):
    golden = load_golden(shared, "aaconv")
    layer = AugmentedConv(6, 12, 1, 5, heads=2, key=8, value=4, bias=True)
    layer.relative_columns = torch.nn.Parameter(torch.empty(13, 4))  # the map is 5 by 7
    weights = {f"{name}.weight": golden[name] for name in ("conv", "qkv", "proj")}
    weights |= {f"{name}.bias": golden[f"{name}_bias"] for name in ("conv", "qkv", "proj")}
    set_weights(layer, **weights, relative_rows=golden["rel_h"], relative_columns=golden["rel_w"])
    torch.testing.assert_close(layer(golden["x"]), golden["y"], rtol=0, atol=1e-10)


@pytest.mark.shared
@pytest.mark.parametrize("border", ["zero", "masked"])
def test_attention_in_windows_is_that_of_the_formula(shared, border):
    golden = load_golden(shared, "sasa")
    layer = WindowAttention(6, 8, 5, 2, border)
    weights = {f"{name}.weight": golden[name] for name in "qkv"}
    set_weights(layer, **weights, relative_rows=golden["rel_h"], relative_columns=golden["rel_w"])
    torch.testing.assert_close(layer(golden["x"]), golden[f"y_{border}"], rtol=0, atol=1e-10)
    mapped = layer.float()(golden["x"].float()).double()  # compiled, where there is a C compiler
    torch.testing.assert_close(mapped, golden[f"y_{border}"], rtol=0, atol=1e-5)


@pytest.mark.shared
def test_a_stem_of_attention_is_that_of_the_formula(shared):
    golden = load_golden(shared, "sasa_stem")
    layer = AttentionStem(8, 2, 4, 4, 5)
    places = {"row_embed": golden["emb_row"], "column_embed": golden["emb_col"], "mixture": golden["nu"]}
    set_weights(layer, **{f"{name}.weight": golden[name] for name in "qkv"}, **places)
    mixed = from_blocks(layer.attend(golden["x"]), *golden["x"].shape[::2], golden["x"].shape[3], 4)
    torch.testing.assert_close(mixed, golden["y"], rtol=0, atol=1e-10)


def test_windows_are_exact_for_any_side():
    torch.manual_seed(0)
    layer = WindowAttention(4, 8, 3, 2, "zero").double()
    for table in (layer.relative_rows, layer.relative_columns):
        torch.nn.init.normal_(table)
    x = torch.randn(2, 4, 5, 8, dtype=torch.float64)
    with torch.no_grad():
        mapped, q = layer(x), layer.q(x).unflatten(1, (2, 4))  # [B, H, d, h, w]
        k, v = (torch.nn.functional.pad(part(x), (1, 1, 1, 1)).unflatten(1, (2, 4)) for part in (layer.k, layer.v))
        for y, column in ((0, 0), (2, 5), (4, 7)):
            keys, values = (part[..., y : y + 3, column : column + 3] for part in (k, v))
            rows, columns = (
                layer.relative_rows.T[:, :, None].expand(2, 3, 3),
                layer.relative_columns.T[:, None].expand(2, 3, 3),
            )
            logits = ((keys + torch.cat([rows, columns])) * q[..., y, column, None, None]).sum(2).flatten(2)
            expected = (values.flatten(3) * logits.softmax(2)[:, :, None]).sum(3).flatten(1)
            torch.testing.assert_close(mapped[..., y, column], expected)


def test_parameters_are_those_printed():
    printed = {
        "resnet26": 13.7, "resnet34": 21.8, "resnet38": 19.6, "resnet50": 25.6, "resnet101": 44.5, "resnet152": 60.2,
        "aa_resnet34": 20.7, "aa_resnet50": 25.8, "aa_resnet101": 45.4, "aa_resnet152": 61.6,
        "sasa26": 10.3, "sasa50": 18.0,
    }  # fmt: skip
    assert {name: round(models.count_parameters(ROWS[name], 1000, 224) / 1e6, 1) for name in printed} == printed
    assert models.count_parameters(ROWS["sasa38"], 1000, 224) == 14_165_320  # 14.1 is printed
    sweep = [replace(ROWS["aa_resnet50"], kappa=share, upsilon=share) for share in (0.25, 0.5, 0.75, 1.0)]
    assert [round(models.count_parameters(row, 1000, 224) / 1e6, 1) for row in sweep] == [24.3, 22.3, 20.7, 19.4]
    wide = [models.count_parameters(ROWS[name], 100, 32) / 1e6 for name in ("wrn28_10", "aa_wrn28_10")]
    assert [round(number, 2) for number in wide] == [36.54, 36.31]  # 36.3 and 36.2 are printed


def test_flop_are_those_printed_or_nearly():
    def gflop(row, res=224, classes=1000):
        return round(2 * models.count_macs(row, classes, res) / 1e9, 1)

    plain = [gflop(ROWS[f"resnet{depth}"]) for depth in (26, 50, 101, 152)]
    assert plain == [4.7, 8.2, 15.6, 23.0]
    assert [gflop(ROWS[f"sasa{depth}"]) for depth in (26, 38, 50)] == [4.7, 5.9, 7.2]  # 4.7, 6.0 and 7.2 are printed
    conv_stem = [gflop(replace(ROWS[f"sasa{depth}"], stem="conv")) for depth in (26, 38, 50)]
    assert conv_stem == [4.5, 5.7, 7.0]
    augmented = [gflop(ROWS[f"aa_resnet{depth}"]) for depth in (34, 50, 101)]
    assert augmented == [7.2, 8.4, 16.3]  # 7.1, 8.3 and 16.1 are printed


@pytest.mark.parametrize("name", NANO)
def test_a_network_learns_and_is_loaded_at_another_resolution(name, tmp_path):
    torch.manual_seed(0)
    network = models.build(ROWS[name], 4, 16)
    images, labels = torch.randn(8, 3, 16, 16), torch.arange(8) % 4
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    losses = []
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    models.save_model(tmp_path / "model.safetensors", network, ROWS[name], 4, 16)
    again = models.load(tmp_path / "model.safetensors").network.eval()
    with torch.no_grad():
        assert again(images).equal(network.eval()(images))
        larger = models.load(tmp_path / "model.safetensors", res=24)
        assert larger.network.eval()(torch.randn(1, 3, 24, 24)).isfinite().all()
    assert bool(larger.report.resized) == (name == "aa_resnet_nano")
