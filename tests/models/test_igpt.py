"""ImageGPT reads colours in raster order, predicts the next one as the original, and samples with a cache."""

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from vitrun import models
from vitrun.models.causal_attention import causal_attention
from vitrun.models.cost import count_parameters
from vitrun.models.igpt import choose, regular_colours
from vitrun.objectives.pixels import colour_losses
from vitrun.recipes import tables

NANO = tables.load_model_rows()["igpt_nano"]


def build_random(causal=True, side=4):
    """Return a tiny network with a random output layer, in evaluation mode."""
    torch.manual_seed(0)
    row = replace(NANO, width=16, depth=2, mlp=32, colours=8, causal=causal, start=causal)
    network = models.build_pixel_predictor(row, side)
    torch.nn.init.normal_(network.lm_head.weight)
    return network.eval()


@pytest.fixture
def golden(shared, tmp_path):
    """Return a folder of transformers' ImageGPT with its colours, and what the original computes with it."""
    for file in (shared / "golden" / "family" / "imagegpt_hf").iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    arrays = dict(np.load(tmp_path / "golden.npz"))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"clusters": arrays["clusters"].tolist()}))
    return models.load(tmp_path, classes=1).network.eval(), {
        name: torch.tensor(array) for name, array in arrays.items()
    }


@pytest.mark.shared
def test_logits_losses_and_features_are_those_of_the_original(golden):
    network, expected = golden
    ids = network.quantize(expected["pixels"] / 127.5 - 1)
    assert ids.equal(expected["ids"])
    with torch.no_grad():
        logits, states = (
            network.lm_head(network.encode(ids)),
            models.hidden_states(network, expected["pixels"] / 127.5 - 1),
        )
    torch.testing.assert_close(logits.double(), expected["logits"], rtol=0, atol=2e-5)
    torch.testing.assert_close(colour_losses(logits, ids).double(), expected["loss_of_each_pixel"], rtol=0, atol=2e-5)
    norms = [*(block.norm1 for block in network.blocks), network.norm]
    features = torch.stack([norm(state).mean(1) for norm, state in zip(norms, states)])
    torch.testing.assert_close(features.double(), expected["features_of_layer"], rtol=0, atol=2e-5)


@pytest.mark.shared
def test_hidden_pixels_are_predicted_as_by_the_original(golden):
    network, expected = golden
    both_ways = models.IGpt(replace(network.row, causal=False, start=False), 1, network.side)
    both_ways.load_state_dict({name: t for name, t in network.state_dict().items() if name != "start"})
    with torch.no_grad():
        logits = both_ways.lm_head(both_ways.encode(expected["ids"], expected["masked"]))
    torch.testing.assert_close(logits.double(), expected["bert_logits"], rtol=0, atol=2e-5)


@pytest.mark.shared
def test_the_likeliest_completion_is_that_of_the_original(golden):
    network, expected = golden
    given = expected["ids"][:, : int(expected["greedy_completion_from"])]
    sampled = torch.stack([*network.sample(given, torch.zeros(2, 64, dtype=torch.float64), temperature=0)], 1)
    assert sampled.equal(expected["greedy_completion"])


def test_a_prediction_does_not_depend_on_later_pixels():
    network, images = build_random(), torch.rand(2, 3, 4, 4) * 2 - 1
    changed = images.clone()
    changed[:, :, 2] *= -1  # pixels 8 to 11
    empty = torch.zeros(2, 0, dtype=torch.bool)
    (logits, _), (others, _) = network(images, empty), network(changed, empty)
    torch.testing.assert_close(logits[:, :9], others[:, :9])
    assert (logits[:, 9:] - others[:, 9:]).abs().max() > 1e-3


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.bfloat16, 0.02)])
def test_causal_attention_by_blocks_is_that_of_torch_with_its_gradients(dtype, tolerance):
    torch.manual_seed(0)
    qkv = torch.randn(2, 300, 3, 2, 8, dtype=dtype)  # more than two blocks
    weights, results = torch.randn(2, 2, 300, 8, dtype=dtype), []
    for compute in (causal_attention, partial(functional.scaled_dot_product_attention, is_causal=True)):
        leaf = qkv.clone().requires_grad_()
        mixed = compute(*leaf.permute(2, 0, 3, 1, 4).unbind())
        (mixed * weights).sum().backward()
        results.append((mixed.detach(), leaf.grad))
    for ours, theirs in zip(*results):
        assert (ours.double() - theirs.double()).norm() <= tolerance * theirs.double().norm()


def test_a_hidden_pixel_is_predicted_only_from_the_others():
    network, images = build_random(causal=False), torch.rand(1, 3, 4, 4) * 2 - 1
    changed = images.clone()
    changed[:, :, 1, 1] *= -1
    hidden = torch.zeros(1, 16, dtype=torch.bool)
    hidden[0, 5] = True
    torch.testing.assert_close(network(images, hidden)[0], network(changed, hidden)[0])
    assert (network(images, ~hidden)[0] - network(changed, ~hidden)[0]).abs().max() > 1e-3


@pytest.mark.parametrize("temperature, top", [(1.0, 0), (0.7, 3), (0.0, 0)])
def test_the_cache_does_not_change_what_is_sampled(temperature, top):
    network = build_random()
    for module in network.modules():
        if isinstance(module, torch.nn.RMSNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
    given, draws = torch.randint(0, 8, (3, 5)), torch.rand(3, 16, dtype=torch.float64)
    sampled = torch.stack([*network.sample(given, draws, temperature, top)], 1)
    slow = given
    with torch.inference_mode():
        for position in range(5, 16):
            ids = functional.pad(slow, (0, 16 - position))
            logits = network.lm_head(network.encode(ids))[:, position].double()
            slow = torch.cat([slow, choose(logits, draws[:, position], temperature, top)[:, None]], 1)
    assert sampled.equal(slow)


def test_colours_are_drawn_with_their_probabilities():
    logits = torch.tensor([[0.2, 0.3, 0.5]]).double().log().expand(1000, -1)
    draws = torch.linspace(0, 1, 1001, dtype=torch.float64)[:-1] + 1e-6
    assert torch.bincount(choose(logits, draws, 1.0, 0)).tolist() == [200, 300, 500]
    assert torch.bincount(choose(logits, draws, 1.0, 2), minlength=3)[0] == 0


def test_a_picture_of_the_colours_survives_its_tokens():
    network = build_random()
    ids = torch.randint(0, 8, (2, 16))
    images = network.paint(ids).permute(0, 3, 1, 2) / 127.5 - 1
    assert network.quantize(images).equal(ids)
    assert len(regular_colours(512).unique(dim=0)) == 512 and regular_colours(512).abs().max() == 0.875


@pytest.mark.parametrize(
    "name, parameters", [("igpt_s", 76_571_648), ("igpt_m", 455_157_760), ("igpt_l", 1_362_250_752)]
)
def test_parameters_are_those_of_the_published_code(name, parameters):
    assert count_parameters(tables.load_model_rows()[name], 0, 32) == parameters
