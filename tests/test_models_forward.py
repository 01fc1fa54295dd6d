"""What networks compute: positions, attention, heads, precision, and what is left out in training."""

import threading
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
import torch
from test_models import ROWS, built, images, tiny

from vitrun import models
from vitrun.mistakes import Mistake
from vitrun.models import attention, positions


@pytest.mark.parametrize("head", ["token", "gap", "map"])
@pytest.mark.parametrize("kind", ["learned", "none", "2d", "relative", "sincos2d"])
@pytest.mark.parametrize("at", ["stem", "every", "shared"])
def test_every_option_runs_and_its_head_reads_its_features(head, kind, at):
    network = built(tiny(head=head, positions=kind, positions_at=at, pre_logits=at == "every"))
    with torch.no_grad():
        logits, features = network(images()), network.features(images())
    assert logits.shape == (2, 5) and features.shape == (2, 48) and features.dtype == torch.float32
    torch.testing.assert_close(network.head(features), logits)


@pytest.mark.parametrize(("kind", "told_apart"), [("learned", True), ("2d", True), ("sincos2d", True), ("none", False)])
def test_positions_alone_tell_patches_apart(kind, told_apart):
    network = built(tiny(positions=kind))
    shuffled = images().unflatten(2, (4, 8)).flip(2).flatten(2, 3)  # the rows of patches in reverse
    with torch.no_grad():
        assert torch.allclose(network(images()), network(shuffled), atol=1e-5) != told_apart


def test_relative_positions_add_the_query_times_the_embedding_of_the_offset():
    torch.manual_seed(0)
    N, H, d = 5, 2, 4
    q, k, table = torch.randn(1, H, N, d), torch.randn(1, H, N, d), torch.randn(2 * N - 1, H * d)
    logits = torch.empty(1, H, N, N)
    for h in range(H):
        for i in range(N):
            for j in range(N):
                key = k[0, h, j] + table[i - j + N - 1, h * d : (h + 1) * d]  # content and offset p_q - p_k
                logits[0, h, i, j] = q[0, h, i] @ key / sqrt(d)
    torch.testing.assert_close(attention.attention_weights(q, k, table), logits.softmax(-1))


def test_fixed_positions_are_those_of_big_vision():
    side, width = 5, 16
    y, x = np.mgrid[:side, :side].reshape(2, -1)
    omega = 10_000 ** -(np.arange(width // 4) / (width // 4 - 1))
    waves = [
        np.sin(x[:, None] * omega),
        np.cos(x[:, None] * omega),
        np.sin(y[:, None] * omega),
        np.cos(y[:, None] * omega),
    ]
    expected = torch.from_numpy(np.concatenate(waves, 1)).float()[None]
    torch.testing.assert_close(positions.sincos2d(side, width), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sizes", [(4, 7), (14, 24), (14, 32), (16, 37), (7, 12), (24, 14), (7, 4), (1, 3), (3, 1)])
def test_resampled_positions_equal_the_zoom_of_the_published_code(sizes):
    zoom = pytest.importorskip("scipy.ndimage", reason="scipy is the reference here").zoom
    old, new = sizes
    table = torch.randn(1, 1 + old * old, 6)
    grid = zoom(table[0, 1:].reshape(old, old, 6).numpy(), (new / old, new / old, 1), order=1)
    expected = torch.cat([table[:, :1], torch.from_numpy(grid).reshape(1, new * new, 6)], 1)
    torch.testing.assert_close(positions.resample(table, new, 1), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("options", [{}, {"positions": "relative"}, {"positions": "2d", "positions_at": "shared"}])
def test_attention_and_tokens_are_those_of_the_forward_pass(options):
    network = built(tiny(**options))
    attended, tokens = models.attention_and_tokens(network, images())
    assert [a.shape for a in attended] == [(2, 3, 17, 17)] * 2 and [t.shape for t in tokens] == [(2, 17, 48)] * 2
    for weights in attended:
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 17))
    with torch.no_grad():
        torch.testing.assert_close(network.head(network.norm(tokens[-1][:, 0])), network(images()))


def test_a_network_without_attention_says_so():
    with pytest.raises(Mistake, match="no attention"):
        models.attention_and_tokens(built(replace(ROWS["bit_r50x1"], blocks=(1, 1, 1, 1))), images())


def test_fused_and_plain_attention_agree(monkeypatch):
    network = built(tiny())
    with torch.no_grad():
        fused = network(images())
        monkeypatch.setattr(attention, "fused_is_faster", lambda q: False)
        torch.testing.assert_close(network(images()), fused)


@pytest.mark.parametrize(
    "row", [tiny(), tiny(head="map"), tiny(patch=1, stem=32, resnet=(1, 1))], ids=["vit", "map", "hybrid"]
)
def test_bfloat16_autocast_stays_near_float32(row):
    network = built(row)
    with torch.no_grad():
        exact = network.features(images())
        with torch.autocast("cpu", torch.bfloat16):
            near = network.features(images())
    assert near.dtype == torch.float32
    assert (near - exact).norm() / exact.norm() < 0.05


def test_dropout_and_stochastic_depth_act_in_training_alone():
    network = built(tiny(dropout=0.1, stochastic_depth=0.5))
    assert [block.skip for block in network.blocks] == [0.0, 0.5]  # linear in depth
    with torch.no_grad():
        assert torch.equal(network(images()), network(images()))
        network.train()
        assert not torch.equal(network(images()), network(images()))


@pytest.mark.parametrize("options", [{}, {"positions": "relative"}, {"head": "gap"}, {"positions_at": "every"}])
def test_training_without_the_unread_tokens_changes_neither_logits_nor_gradients(options):
    network = built(tiny(**options))
    whole = network(images())
    wanted = torch.autograd.grad(whole.square().sum(), list(network.parameters()))
    network.train()
    logits = network(images())
    found = torch.autograd.grad(logits.square().sum(), list(network.parameters()))
    assert torch.allclose(logits, whole, atol=1e-5)
    for gradient, expected in zip(found, wanted):
        assert torch.allclose(gradient, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item() + 1e-6)


def test_stochastic_depth_leaves_out_whole_images_and_keeps_the_mean():
    block = built(tiny(stochastic_depth=0.5)).blocks[1].train()
    thinned = block.thin(torch.ones(4000, 2, 3))
    assert set(thinned.unique().tolist()) == {0.0, 2.0}
    assert (thinned == thinned[:, :1, :1]).all()
    assert thinned.mean().item() == pytest.approx(1, abs=0.1)


def test_threads_share_one_network():
    network, found = built(tiny()).train(), {}

    def run(index):
        loss = network(images(count=index + 1)).square().sum()
        found[index] = torch.autograd.grad(loss, list(network.parameters()))

    threads = [threading.Thread(target=run, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(3):
        alone = torch.autograd.grad(network(images(count=index + 1)).square().sum(), list(network.parameters()))
        for one, other in zip(found[index], alone, strict=True):
            torch.testing.assert_close(one, other)
