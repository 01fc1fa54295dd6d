"""Networks of timm as rows of the table."""

import re
from dataclasses import replace

import pytest
import torch

from helpers.networks import MODEL_ROWS, make_inputs
from vitrun import models
from vitrun.errors import UserError


def test_any_timm_network_can_be_a_model_row():
    torch.manual_seed(0)
    network = models.build(replace(MODEL_ROWS["timm"], name="convnext_atto"), 4, 64).eval()
    with torch.no_grad():
        assert network(make_inputs(64)).shape == (2, 4) and not network(make_inputs(64)).any()
        assert network.features(make_inputs(64)).shape == (2, network.head.in_features)
    assert models.count_parameters(network.row, 4, 64) == sum(p.numel() for p in network.parameters())


def test_timm_baselines_have_their_published_cost():
    assert round(models.count_macs(MODEL_ROWS["swin_t"], 1000, 224) / 1e9, 1) == 4.5  # arXiv 2103.14030, table 1
    assert models.count_parameters(MODEL_ROWS["convnext_t"], 1000, 224) == pytest.approx(
        28.6e6, rel=0.002
    )  # arXiv 2201.03545


def test_a_misspelt_timm_network_is_refused_with_a_suggestion():
    with pytest.raises(UserError, match=re.escape("resnet50")):
        models.build(replace(MODEL_ROWS["timm"], name="resnet5O"), 4, 64)
