"""Parameters and multiply-adds equal the published ones."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from helpers.networks import MODEL_ROWS, tiny_vit_row
from vitrun import models
from vitrun.models import attention

OURS = [
    name
    for name, row in MODEL_ROWS.items()
    if row.kind != "timm"
    and getattr(row, "attention", "none") == "none"  # counted as papers do, unlike computed
    and not name.startswith("detr")  # measured, as their body is timm's
]
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


# arXiv 2103.00020, tables 19 and 20, by open_clip's model_profile.csv: side of images, parameters of both towers
CLIPS = {
    "clip_b32": (224, 151_277_313),
    "clip_b16": (224, 149_620_737),
    "clip_l14": (224, 427_616_513),
    "clip_l14_336": (336, 427_944_193),
    "clip_r50": (224, 102_007_137),
    "clip_r101": (224, 119_688_033),
    "clip_r50x4": (288, 178_300_601),
    "clip_r50x16": (384, 290_979_217),
    "clip_r50x64": (448, 623_258_305),
}


@pytest.mark.parametrize("name", CLIPS)
def test_parameters_of_both_towers_of_a_clip_equal_the_published_ones(name):
    res, parameters = CLIPS[name]
    assert models.count_parameters(MODEL_ROWS[name], 0, res) == parameters


def test_multiply_adds_of_a_clip_are_those_of_an_image_and_a_text():
    row = MODEL_ROWS["clip_b32"]
    assert round(2 * models.count_macs(row.image, 0, 224) / 1e9, 1) == 8.8  # open_clip's profile: GFLOP
    assert round(2 * (models.count_macs(row, 0, 224) - models.count_macs(row.image, 0, 224)) / 1e9, 2) == 5.96


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_gmac_equal_the_published_ones(name):
    parameters, gmac, with_head = PUBLISHED[name]
    assert parameters in (None, models.count_parameters(MODEL_ROWS[name], 1000, 224))
    assert round(models.count_macs(MODEL_ROWS[name], 1000 if with_head else 0, 224) / 1e9, 3) == gmac


@pytest.mark.parametrize("name", BIT)
def test_parameters_and_gmac_of_bit_equal_the_published_ones(name):
    parameters, gmac = BIT[name]
    assert models.count_parameters(MODEL_ROWS[name], 21_843, 224) == parameters
    assert round(models.count_macs(MODEL_ROWS[name], 21_843, 224) / 1e9, 3) == gmac


def test_the_largest_vit_has_the_published_number_of_millions_of_parameters():
    assert round((models.count_parameters(MODEL_ROWS["vit_gigantic14"], 1000, 224) - 1665 * 1000) / 1e6) == 1843


def test_the_map_head_has_the_parameters_of_one_query_and_one_block():
    row = MODEL_ROWS["vit_gigantic14"]
    D, M = row.width, row.mlp  # the query; its projection, keys, values and output; a norm; an MLP
    head = D + 4 * (D * D + D) + 2 * D + (D * M + M) + (M * D + D)
    token = 2 * D  # the class token and its position
    counts = [models.count_parameters(replace(row, head=head), 1000, 224) for head in ("token", "map")]
    assert counts[1] - counts[0] == head - token and counts[1] == 1_882_797_416


@pytest.mark.parametrize("name, res, gflop", [
    ("vit_xs28", 224, 0.7), ("vit_xs16", 224, 2.2), ("vit_ti16", 224, 2.5), ("vit_s32", 224, 2.3),
    ("vit_s16", 224, 9.2), ("vit_b32", 224, 8.7), ("vit_b28", 224, 11.3), ("vit_b16", 224, 35.1),
    ("vit_l16", 224, 122.9), ("vit_giant14", 224, 533.1), ("vit_gigantic14", 224, 965.3), ("vit_l16", 384, 382.8),
])  # fmt: skip
def test_the_flop_of_scaling_vision_transformers_are_nearly_ours(name, res, gflop):
    ours = 2 * models.count_macs(replace(MODEL_ROWS[name], head="map"), 0, res) / 1e9
    assert ours == pytest.approx(gflop, rel=0.012, abs=0.05)


def test_a_gap_model_with_fixed_positions_has_the_parameters_of_better_plain_vit():
    row = replace(MODEL_ROWS["vit_s16"], head="gap", positions="sincos2d")
    assert models.count_parameters(row, 1000, 224) == 21_974_632  # EIFY/mup-vit, of arXiv 2205.01580


@pytest.mark.parametrize("name", OURS)
def test_the_formula_for_multiply_adds_equals_the_count(name, monkeypatch):
    assert models.count_macs(MODEL_ROWS[name], 10, 224) == count_multiply_adds(MODEL_ROWS[name], 10, 224, monkeypatch)


def test_the_formula_for_multiply_adds_of_a_decoder_on_a_vit_equals_the_count(monkeypatch):
    row = replace(MODEL_ROWS["yolos_nano"], encoder=2, decoder=3, width=32, heads=2, mlp=48)
    assert models.count_macs(row, 10, 32) == count_multiply_adds(row, 10, 32, monkeypatch)


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
    row = tiny_vit_row(**options)
    assert models.count_macs(row, 7, 64) == count_multiply_adds(row, 7, 64, monkeypatch)


def count_multiply_adds(row, classes, res, monkeypatch):
    """Return the multiply-adds of one image, counted by torch with fused attention off."""
    monkeypatch.setattr(attention, "fused_is_faster", lambda q: False)
    with torch.device("meta"):
        network = models.build(row, classes, res).eval().requires_grad_(False)
        with FlopCounterMode(display=False) as counter:
            tokens = [torch.empty(1, row.text.context, dtype=torch.long)] if row.kind == "clip" else []
            network(torch.empty(1, 3, res, res), *tokens)
    return counter.get_total_flops() // 2
