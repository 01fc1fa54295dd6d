"""Forward and backward passes of vision transformers: every option, precision, dropout and threads."""

import threading

import pytest
import torch

from helpers.networks import build_randomized, make_inputs, tiny_vit_row


@pytest.mark.parametrize("head", ["token", "gap", "map"])
@pytest.mark.parametrize("kind", ["learned", "none", "2d", "relative", "sincos2d"])
@pytest.mark.parametrize("at", ["stem", "every", "shared"])
def test_every_option_runs_and_the_head_applied_to_the_features_gives_the_logits(head, kind, at):
    network = build_randomized(tiny_vit_row(head=head, positions=kind, positions_at=at, pre_logits=at == "every"))
    with torch.no_grad():
        logits, features = network(make_inputs()), network.features(make_inputs())
    assert logits.shape == (2, 5) and features.shape == (2, 48) and features.dtype == torch.float32
    torch.testing.assert_close(network.head(features), logits)


@pytest.mark.parametrize(
    "row",
    [tiny_vit_row(), tiny_vit_row(head="map"), tiny_vit_row(patch=1, stem=32, resnet=(1, 1))],
    ids=["vit", "map", "hybrid"],
)
def test_bfloat16_autocast_stays_near_float32(row):
    network = build_randomized(row)
    with torch.no_grad():
        exact = network.features(make_inputs())
        with torch.autocast("cpu", torch.bfloat16):
            near = network.features(make_inputs())
    assert near.dtype == torch.float32
    assert (near - exact).norm() / exact.norm() < 0.05


def test_dropout_and_stochastic_depth_act_only_in_training():
    network = build_randomized(tiny_vit_row(dropout=0.1, stochastic_depth=0.5))
    assert [block.skip for block in network.blocks] == [0.0, 0.5]  # linear in depth
    with torch.no_grad():
        assert torch.equal(network(make_inputs()), network(make_inputs()))
        network.train()
        assert not torch.equal(network(make_inputs()), network(make_inputs()))


@pytest.mark.parametrize("options", [{}, {"positions": "relative"}, {"head": "gap"}, {"positions_at": "every"}])
def test_skipping_the_unused_tokens_in_training_changes_neither_logits_nor_gradients(options):
    network = build_randomized(tiny_vit_row(**options))
    expected_logits = network(make_inputs())
    expected_gradients = torch.autograd.grad(expected_logits.square().sum(), list(network.parameters()))
    network.train()
    logits = network(make_inputs())
    gradients = torch.autograd.grad(logits.square().sum(), list(network.parameters()))
    assert torch.allclose(logits, expected_logits, atol=1e-5)
    for gradient, expected in zip(gradients, expected_gradients):
        assert torch.allclose(gradient, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item() + 1e-6)


def test_stochastic_depth_drops_whole_images_and_preserves_the_mean():
    block = build_randomized(tiny_vit_row(stochastic_depth=0.5)).blocks[1].train()
    thinned = block.drop_path(torch.ones(4000, 2, 3))
    assert set(thinned.unique().tolist()) == {0.0, 2.0}
    assert (thinned == thinned[:, :1, :1]).all()
    assert thinned.mean().item() == pytest.approx(1, abs=0.1)


def test_threads_can_share_one_network():
    network, gradients = build_randomized(tiny_vit_row()).train(), {}

    def run(index):
        loss = network(make_inputs(count=index + 1)).square().sum()
        gradients[index] = torch.autograd.grad(loss, list(network.parameters()))

    threads = [threading.Thread(target=run, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(3):
        expected = torch.autograd.grad(network(make_inputs(count=index + 1)).square().sum(), list(network.parameters()))
        for actual, reference in zip(gradients[index], expected, strict=True):
            torch.testing.assert_close(actual, reference)
