"""Every row builds the published network: its size, its cost, its first weights, its options."""

import re
import subprocess
import sys
from dataclasses import replace
from math import sqrt

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vitrun import models
from vitrun.choices import model_rows
from vitrun.mistakes import Mistake
from vitrun.models import attention

ROWS = model_rows()
OURS = [name for name, row in ROWS.items() if row.kind != "timm"]

# arXiv 2010.11929 tables 1 and 6, 2106.10270, 2106.04560 table 2: parameters with a head of 1000 classes at 224, and
# GMAC of the network that was measured, which had that head or (False) none.
PUBLISHED = {
    "vit_ti16": (5_717_416, 1.254, True),
    "vit_s32": (22_878_952, 1.143, True),
    "vit_s16": (22_050_664, 4.599, True),
    "vit_b32": (88_224_232, 4.409, True),
    "vit_b16": (86_567_656, 17.564, True),
    "vit_b8": (86_576_872, 78.148, True),
    "vit_l32": (306_535_400, 15.377, False),
    "vit_l16": (304_326_632, 61.555, True),
    "vit_h14": (632_045_800, 167.294, False),
    "vit_giant14": (1_012_611_432, 267.031, True),
    "r_vit_ti16": (6_337_704, 0.434, True),
    "r26_vit_s32": (36_431_912, 3.464, True),
    "r26_vit_b32": (101_383_976, 6.711, True),
    "r50_vit_b16": (98_659_112, 21.535, False),
    "r50_vit_b32": (None, 8.457, False),
    "r50_vit_l32": (328_994_856, 19.413, True),
    "r50_vit_l16": (None, 65.538, False),
}
# arXiv 1912.11370: with the head of 21,843 classes.
BIT = {
    "bit_r50x1": (68_256_659, 4.132),
    "bit_r50x2": (183_382_483, 16.202),
    "bit_r50x3": (345_399_315, 36.210),
    "bit_r101x1": (87_248_787, 7.844),
    "bit_r101x3": (516_015_123, 69.620),
    "bit_r152x1": (102_892_435, 11.556),
    "bit_r152x2": (321_728_979, 45.900),
    "bit_r152x4": (1_107_299_923, 182.948),
    "bit_r200x3": (696_713_235, 134.475),
}


def tiny(**options):
    """A small vision transformer with some of its options."""
    return replace(
        ROWS["vit_s16"], name="tiny", **{"width": 48, "depth": 2, "heads": 3, "mlp": 96, "patch": 8, **options}
    )


def built(row, classes=5, res=32, seed=0):
    """The network of a row in a state where every tensor matters: nothing zero, nothing one."""
    torch.manual_seed(seed)
    network = models.build(row, classes, res).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def images(res=32, count=2):
    """Some images [B, 3, R, R] in [-1, 1]."""
    return torch.rand(count, 3, res, res, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_gmac_equal_the_published(name):
    parameters, gmac, with_head = PUBLISHED[name]
    assert parameters in (None, models.parameters(ROWS[name], 1000, 224))
    assert round(models.macs(ROWS[name], 1000 if with_head else 0, 224) / 1e9, 3) == gmac


@pytest.mark.parametrize("name", BIT)
def test_parameters_and_gmac_of_bit_equal_the_published(name):
    parameters, gmac = BIT[name]
    assert models.parameters(ROWS[name], 21_843, 224) == parameters
    assert round(models.macs(ROWS[name], 21_843, 224) / 1e9, 3) == gmac


def test_the_largest_vit_has_the_published_number_of_millions_of_parameters():
    assert round((models.parameters(ROWS["vit_gigantic14"], 1000, 224) - 1665 * 1000) / 1e6) == 1843


def test_a_gap_model_with_fixed_positions_has_the_parameters_of_better_plain_vit():
    row = replace(ROWS["vit_s16"], head="gap", positions="sincos2d")
    assert models.parameters(row, 1000, 224) == 21_974_632  # EIFY/mup-vit, of arXiv 2205.01580


@pytest.mark.parametrize("name", OURS)
def test_the_formula_of_multiply_adds_equals_the_count(name, monkeypatch):
    assert models.macs(ROWS[name], 10, 224) == counted(ROWS[name], 10, 224, monkeypatch)


@pytest.mark.parametrize(
    "options",
    [
        {"head": "gap"},
        {"head": "map"},
        {"pre_logits": True},
        {"positions": "relative"},
        {"positions": "2d", "positions_at": "every"},
        {"patch": 1, "stem": 64, "resnet": (1, 2)},
    ],
)
def test_the_formula_holds_for_every_option(options, monkeypatch):
    row = tiny(**options)
    assert models.macs(row, 7, 64) == counted(row, 7, 64, monkeypatch)


def counted(row, classes, res, monkeypatch):
    """Multiply-adds of one image with fused attention off, counted by torch."""
    monkeypatch.setattr(attention, "fused_is_faster", lambda q: False)
    with torch.device("meta"):
        network = models.build(row, classes, res).eval().requires_grad_(False)
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, res, res))
    return counter.get_total_flops() // 2


def test_a_resolution_between_strides_is_refused_with_the_two_nearest():
    with pytest.raises(Mistake, match="res=384 .* multiple of 14.* 378 and 392"):
        models.build(ROWS["vit_h14"], 10, 384)
    with torch.device("meta"):
        assert models.build(ROWS["vit_h14"], 10, 518).pos_embed.shape == (1, 1 + 37**2, 1280)


@pytest.mark.parametrize(
    ("name", "stride"), [("vit_h14", 14), ("r50_vit_b16", 16), ("r50_vit_b32", 32), ("r_vit_ti16", 32)]
)
def test_the_stride_is_that_of_the_whole_network(name, stride):
    assert models.stride(ROWS[name]) == stride


def test_every_row_is_named_by_its_file_and_builds():
    for name, row in ROWS.items():
        assert row.kind == "timm" or row.name == name
        with torch.device("meta"):
            if row.kind != "timm":
                assert models.build(row, 3, 224).head.out_features == 3


def test_first_weights_are_drawn_as_published():
    torch.manual_seed(0)
    row = replace(ROWS["vit_ti16"], depth=2, pre_logits=True)
    network = models.build(row, 7, 224, head_bias=-10.0)
    D, block = row.width, network.blocks[0]
    for part in block.attn.qkv.weight.split(D):  # each on its own: a Xavier bound of the three together is sqrt(2) less
        spread_uniformly(part, sqrt(6 / (D + D)))
    spread_uniformly(block.attn.proj.weight, sqrt(6 / (D + D)))
    spread_uniformly(block.mlp.fc1.weight, sqrt(6 / (D + row.mlp)))
    spread_uniformly(block.mlp.fc2.weight, sqrt(6 / (D + row.mlp)))
    for biases in (block.mlp.fc1.bias, block.mlp.fc2.bias):
        spread_normally(biases, 1e-6, cut=6)
    spread_normally(network.patch_embed.proj.weight, sqrt(1 / (3 * 16 * 16)), cut=2 / 0.8796)
    spread_normally(network.pre_logits.weight, sqrt(1 / D), cut=2 / 0.8796)
    spread_normally(network.pos_embed, 0.02, cut=6)
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


def test_first_weights_of_the_map_head_and_of_resnets_are_drawn_as_published():
    torch.manual_seed(0)
    pool = models.build(replace(ROWS["vit_ti16"], depth=1, head="map"), 7, 32).attn_pool
    spread_uniformly(pool.latent, sqrt(6 / (1 + 192)))
    for part in (pool.q.weight, *pool.kv.weight.split(192)):
        spread_uniformly(part, sqrt(6 / (192 + 192)))
    unit = models.build(tiny(patch=1, stem=64, resnet=(2, 1)), 7, 32).patch_embed.backbone.stages[0].blocks[1]
    assert not unit.norm3.weight.any() and (unit.norm2.weight == 1).all()  # the last norm of a unit starts at zero
    spread_normally(unit.conv2.weight, sqrt(1 / (64 * 9)), cut=2 / 0.8796)


def spread_uniformly(weight, bound):
    """The weights fill [-bound, bound] evenly."""
    assert bound * 0.97 < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / sqrt(3), rel=four_sigma(weight))


def spread_normally(weight, deviation, cut):
    """The weights have this deviation, and none is further out than ``cut`` of them."""
    assert weight.std().item() == pytest.approx(deviation, rel=four_sigma(weight))
    assert weight.abs().max() <= cut * deviation * 1.001


def four_sigma(weight):
    """How far off the deviation of n draws may be, in parts of it: its sampling error is 1/sqrt(2n)."""
    return 4 / sqrt(2 * weight.numel())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"heads": 5}, "heads=5"),
        ({"width": 42, "positions": "sincos2d"}, "multiple of 4"),
        ({"stem": 48}, "multiple of 32"),
        ({"resnet": (1,)}, "needs a stem"),
    ],
)
def test_a_row_that_makes_no_network_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        tiny(**options)


def test_the_same_seed_draws_the_same_network():
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(models.build(tiny(), 5, 32))
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_building_a_vit_does_not_import_timm():
    code = (
        "import sys; from vitrun import choices, models; models.build(choices.model_rows()['vit_ti4'], 2, 8); "
        "sys.exit('timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_any_network_of_timm_is_a_row():
    torch.manual_seed(0)
    network = models.build(replace(ROWS["timm"], name="convnext_atto"), 4, 64).eval()
    with torch.no_grad():
        assert network(images(64)).shape == (2, 4) and not network(images(64)).any()
        assert network.features(images(64)).shape == (2, network.head.in_features)
    assert models.parameters(network.row, 4, 64) == sum(p.numel() for p in network.parameters())


def test_named_baselines_of_timm_have_their_published_cost():
    assert round(models.macs(ROWS["swin_t"], 1000, 224) / 1e9, 1) == 4.5  # arXiv 2103.14030, table 1
    assert models.parameters(ROWS["convnext_t"], 1000, 224) == pytest.approx(28.6e6, rel=0.002)  # arXiv 2201.03545


def test_a_misspelt_network_of_timm_is_told_what_was_meant():
    with pytest.raises(Mistake, match=re.escape("resnet50")):
        models.build(replace(ROWS["timm"], name="resnet5O"), 4, 64)
