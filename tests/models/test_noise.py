"""Dropout and stochastic depth are noise of training alone, in networks of every kind that have them."""

from dataclasses import replace

import pytest
import torch

from helpers.networks import MODEL_ROWS, make_inputs
from vitrun import models
from vitrun.models.noise import SkippedBlock

BIT = replace(MODEL_ROWS["bit_r50x1"], blocks=(1, 1, 1, 1), width_factor=0.5)
ROWS = {"bit": BIT, **{name: MODEL_ROWS[name] for name in ("vit_nano8", "resnet_nano", "sasa_nano")}}


@pytest.mark.parametrize("name", ROWS)
def test_noise_changes_training_alone_and_later_blocks_are_dropped_more(name):
    torch.manual_seed(0)
    loaded = models.LoadedModel(models.build(ROWS[name], 4, 32), ROWS[name], 4, 32, None)
    images = make_inputs(32).repeat(8, 1, 1, 1)
    clean = loaded.network.eval().features(images)
    noisy = models.with_noise(loaded, 0.5, 0.3)
    torch.testing.assert_close(noisy.network.features(images), clean, rtol=0, atol=0)
    built = models.build(noisy.model, 4, 32)
    for network in (noisy.network, built):
        skips = [block.skip for block in network.modules() if isinstance(block, SkippedBlock)]
        assert skips == sorted(skips) and (skips[0], skips[-1]) == (0, pytest.approx(0.3))
        assert network.dropout.p == 0.5
    trained = noisy.network.train().features(images)
    assert not torch.equal(trained[:2], trained[2:4]), "images are dropped one by one"
    if name != "vit_nano8":  # whose dropout is in its blocks
        assert 0.4 < ((trained == 0).float().mean() - (clean == 0).float().mean() * 0.5).item() < 0.6


def test_a_dropped_block_is_its_shortcut_and_the_mean_is_kept():
    block = SkippedBlock().train()
    block.skip = 0.25
    torch.manual_seed(0)
    branch = block.drop_path(torch.ones(4000, 3, 2, 2))
    assert branch.unique().tolist() == pytest.approx([0, 4 / 3]) and branch.mean().item() == pytest.approx(1, abs=0.05)
    assert (branch == branch[:, :1, :1, :1]).all()
