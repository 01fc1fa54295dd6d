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


@pytest.mark.parametrize("res, near", [(31, "16 and 32"), (7, "16 and 32")])
def test_a_size_that_patches_of_timm_would_crop_is_refused_with_the_nearest(res, near):
    row = replace(MODEL_ROWS["timm"], name="vit_tiny_patch16_224", options={"depth": 1})
    with pytest.raises(UserError, match=f"res={res}: is not a multiple of 16.*{near}"):
        models.check_model(row, res)
    models.check_model(row, 32)


@pytest.mark.parametrize(
    "name, res", [("vit_so400m_patch14_siglip_384", 384), ("convnext_atto", 63), ("pvt_v2_b0", 64)]
)
def test_a_size_that_timm_was_trained_at_or_takes_whole_is_allowed(name, res):
    options = {"depth": 1} if name.startswith("vit") else {}
    models.check_model(replace(MODEL_ROWS["timm"], name=name, options=options), res)


def test_noise_of_a_timm_network_is_set_anew_and_its_weights_are_unchanged():
    torch.manual_seed(0)
    row = replace(MODEL_ROWS["efficientnet_b0"], name="test_efficientnet")
    loaded = models.LoadedModel(models.build(row, 4, 32), row, 4, 32, None)
    noisy = models.with_noise(loaded, 0.5, 0.2)
    assert (noisy.model.dropout, noisy.model.stochastic_depth) == (0.5, 0.2)
    before, after = loaded.network.eval().features(make_inputs(32)), noisy.network.eval().features(make_inputs(32))
    assert torch.equal(before, after)
    dropped = (noisy.network.train().features(make_inputs(32)) == 0).float().mean()
    assert 0.4 < dropped < 0.6, "dropout is before the head"
    assert max(getattr(module, "drop_prob", 0) for module in noisy.network.modules()) > 0
    assert models.with_noise(noisy, 0.5, None) is noisy


def test_efficientnets_have_their_published_size():
    counts = [models.count_parameters(MODEL_ROWS[f"efficientnet_b{number}"], 1000, 224) / 1e6 for number in range(8)]
    assert [round(count, 1) for count in counts] == [5.3, 7.8, 9.1, 12.2, 19.3, 30.4, 43.0, 66.3]
