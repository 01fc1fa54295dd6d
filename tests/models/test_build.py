"""Every row builds the published network: its initial weights and options."""

import subprocess
import sys
from dataclasses import replace
from math import sqrt

import pytest
import torch

from helpers.networks import MODEL_ROWS, tiny_vit_row
from vitrun import models
from vitrun.errors import UserError


def test_a_resolution_that_is_no_multiple_of_the_stride_is_refused_with_the_two_nearest():
    with pytest.raises(UserError, match="multiple of 14.* 378 and 392") as error:
        models.build(MODEL_ROWS["vit_h14"], 10, 384)
    assert (error.value.option, error.value.value) == ("res", "384")
    with torch.device("meta"):
        assert models.build(MODEL_ROWS["vit_h14"], 10, 518).pos_embed.shape == (1, 1 + 37**2, 1280)


@pytest.mark.parametrize(
    ("name", "stride"), [("vit_h14", 14), ("r50_vit_b16", 16), ("r50_vit_b32", 32), ("r_vit_ti16", 32)]
)
def test_the_stride_is_the_total_stride_of_the_network(name, stride):
    assert models.token_stride(MODEL_ROWS[name]) == stride


def test_every_row_has_the_name_of_its_file_and_builds():
    for name, row in MODEL_ROWS.items():
        assert row.kind == "timm" or row.name == name
        with torch.device("meta"):
            if row.kind != "timm":
                assert models.build(row, 3, 224).head.out_features == {"clip": 0, "detector": 4}.get(row.kind, 3)


def test_initial_weights_have_the_published_distribution():
    torch.manual_seed(0)
    row = replace(MODEL_ROWS["vit_ti16"], depth=2, pre_logits=True)
    network = models.build(row, 7, 224, head_bias=-10.0)
    D, block = row.width, network.blocks[0]
    for part in block.attn.qkv.weight.split(
        D
    ):  # each separately: a Xavier bound of the three together is smaller by sqrt(2)
        assert_uniform(part, sqrt(6 / (D + D)))
    assert_uniform(block.attn.proj.weight, sqrt(6 / (D + D)))
    assert_uniform(block.mlp.fc1.weight, sqrt(6 / (D + row.mlp)))
    assert_uniform(block.mlp.fc2.weight, sqrt(6 / (D + row.mlp)))
    for biases in (block.mlp.fc1.bias, block.mlp.fc2.bias):
        assert_normal(biases, 1e-6, cut=6)
    assert_normal(network.patch_embed.proj.weight, sqrt(1 / (3 * 16 * 16)), cut=2 / 0.8796)
    assert_normal(network.pre_logits.weight, sqrt(1 / D), cut=2 / 0.8796)
    assert_normal(network.pos_embed, 0.02, cut=6)
    for zeros in (
        network.cls_token,
        network.head.weight,
        block.attn.qkv.bias,
        block.attn.proj.bias,
        network.patch_embed.proj.bias,
    ):
        assert not zeros.any()
    assert (network.head.bias == -10).all()
    for norm in (block.norm1, block.norm2, network.norm):
        assert (norm.weight == 1).all() and not norm.bias.any() and norm.eps == 1e-6


def test_initial_weights_of_the_map_head_and_of_resnets_have_the_published_distribution():
    torch.manual_seed(0)
    pool = models.build(replace(MODEL_ROWS["vit_ti16"], depth=1, head="map"), 7, 32).attn_pool
    assert_uniform(pool.latent, sqrt(6 / (1 + 192)))
    for part in (pool.q.weight, *pool.kv.weight.split(192)):
        assert_uniform(part, sqrt(6 / (192 + 192)))
    unit = models.build(tiny_vit_row(patch=1, stem=64, resnet=(2, 1)), 7, 32).patch_embed.backbone.stages[0].blocks[1]
    assert not unit.norm3.weight.any() and (unit.norm2.weight == 1).all()  # the last norm of a unit starts at zero
    assert_normal(unit.conv2.weight, sqrt(1 / (64 * 9)), cut=2 / 0.8796)


def assert_uniform(weight, bound):
    """Assert that the weights are uniform in [-bound, bound]."""
    assert bound * 0.97 < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / sqrt(3), rel=four_sigma(weight))


def assert_normal(weight, deviation, cut):
    """Assert that the weights have this deviation, and none exceeds ``cut`` deviations."""
    assert weight.std().item() == pytest.approx(deviation, rel=four_sigma(weight))
    assert weight.abs().max() <= cut * deviation * 1.001


def four_sigma(weight):
    """Return the relative tolerance for the deviation of n draws: its sampling error is 1/sqrt(2n)."""
    return 4 / sqrt(2 * weight.numel())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 5}, "heads=5"),
        ({"width": 42, "positions": "sincos2d"}, "multiple of 4"),
        ({"stem": 48}, "multiple of 32"),
        ({"resnet": (1,)}, "needs a stem"),
    ],
)
def test_an_invalid_model_row_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tiny_vit_row(**options)


def test_the_same_seed_gives_the_same_initial_network():
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(models.build(tiny_vit_row(), 5, 32))
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_building_a_vit_does_not_import_timm():
    code = (
        "import sys; from vitrun import models; from vitrun.recipes import tables; "
        "models.build(tables.load_model_row('vit_ti4'), 2, 8); sys.exit('timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
