"""Position embeddings: learned, relative, fixed and resampled."""

from math import sqrt

import numpy as np
import pytest
import torch

from helpers.networks import build_randomized, make_inputs, tiny_vit_row
from vitrun.models import attention, positions


@pytest.mark.parametrize(
    ("kind", "distinguishes"), [("learned", True), ("2d", True), ("sincos2d", True), ("none", False)]
)
def test_only_position_embeddings_distinguish_patches(kind, distinguishes):
    network = build_randomized(tiny_vit_row(positions=kind))
    shuffled = make_inputs().unflatten(2, (4, 8)).flip(2).flatten(2, 3)  # the rows of patches in reverse
    with torch.no_grad():
        assert torch.allclose(network(make_inputs()), network(shuffled), atol=1e-5) != distinguishes


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


def test_fixed_positions_equal_those_of_big_vision():
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
    torch.testing.assert_close(positions.resample_grid(table, new, 1), expected, atol=2e-5, rtol=0)
