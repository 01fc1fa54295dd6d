"""Attention distance, rollout and maps equal references in float64, written from their definitions."""

import numpy as np
import pytest
import torch

from vitrun.models import AttentionLayout
from vitrun.probes.attention_statistics import (
    DistanceMeter,
    Rollout,
    attention_distances,
    attention_of_reader,
    grid_distances,
)

SIDE, PIXELS, LAYERS, HEADS = 4, 8, 3, 2
GENERATOR = np.random.default_rng(0)


def make_attention(images: int, tokens: int) -> list[np.ndarray]:
    """Return random attention of each layer, float64 [B, H, N, N]."""
    weights = GENERATOR.random((LAYERS, images, HEADS, tokens, tokens)) ** 4
    return [*(weights / weights.sum(-1, keepdims=True))]


def refer_distance(attention: np.ndarray, prefix: int, normalize: bool) -> np.ndarray:
    """Return the mean attention distance of each head, [B, H], one query and one key at a time."""
    images, heads, tokens, _ = attention.shape
    result = np.zeros((images, heads))
    for image, head, query in np.ndindex(images, heads, tokens - prefix):
        row, weighted = attention[image, head, prefix + query, prefix:], 0.0
        for key in range(tokens - prefix):
            (y, x), (v, u) = divmod(query, SIDE), divmod(key, SIDE)
            weighted += row[key] * PIXELS * np.sqrt((y - v) ** 2 + (x - u) ** 2)
        result[image, head] += weighted / (row.sum() if normalize else 1) / (tokens - prefix)
    return result


def refer_rollout(layers: list[np.ndarray]) -> np.ndarray:
    """Return the rollout of one image, [N, N]: the product of A + I of each layer, its rows divided by their sum."""
    product = None
    for attention in layers:
        mixed = sum(attention[head] for head in range(HEADS)) / HEADS + np.eye(attention.shape[-1])
        mixed = mixed / mixed.sum(1)[:, None]
        product = mixed if product is None else mixed @ product
    return product


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("side, pixels, expected", [(14, 16, 116.49), (7, 32, 115.50)])
def test_uniform_attention_has_the_published_distance_whatever_the_number_of_other_tokens(
    side, pixels, expected, prefix
):
    tokens = side**2 + prefix
    uniform = torch.full((1, 1, tokens, tokens), 1 / tokens)
    normalized, plain, share = attention_distances(uniform, prefix, grid_distances(side, pixels))[0, 0].tolist()
    assert normalized == pytest.approx(expected, abs=0.005)
    assert plain == pytest.approx(expected * side**2 / tokens, abs=0.005)
    assert share == pytest.approx(prefix / tokens, abs=1e-6)


def test_the_largest_distance_is_the_diagonal_of_the_grid():
    assert grid_distances(14, 16).max() == pytest.approx(294.2, abs=0.05)
    assert grid_distances(3, 2).diagonal().tolist() == [0] * 9


@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_attention_distance_equals_the_reference(prefix):
    layers = make_attention(5, SIDE**2 + prefix)
    meter = DistanceMeter(AttentionLayout(LAYERS, HEADS, prefix, SIDE, prefix), SIDE * PIXELS)
    for batch in (slice(0, 3), slice(3, 5)):
        for layer, attention in enumerate(layers):
            meter.update(layer, torch.from_numpy(attention[batch]).float())
    for layer, attention in enumerate(layers):
        normalized, plain, share = meter.mean()[layer].T.numpy()
        np.testing.assert_allclose(normalized, refer_distance(attention, prefix, True).mean(0), rtol=1e-5)
        np.testing.assert_allclose(plain, refer_distance(attention, prefix, False).mean(0), rtol=1e-5)
        np.testing.assert_allclose(share, attention[..., prefix:, :prefix].sum(-1).mean((0, 2)), atol=1e-6)


@pytest.mark.parametrize("head, prefix, class_tokens", [("token", 1, 1), ("token", 4, 1), ("gap", 2, 0), ("map", 1, 0)])
def test_rollout_equals_the_reference(head, prefix, class_tokens):
    tokens = SIDE**2 + prefix
    layers, rollout = make_attention(2, tokens), Rollout()
    for attention in layers:
        rollout.update(torch.from_numpy(attention).float())
    pool = make_attention(2, tokens)[0][:, :, 0] if head == "map" else None
    weights = rollout.read(
        AttentionLayout(LAYERS, HEADS, prefix, SIDE, class_tokens),
        None if pool is None else torch.from_numpy(pool).float(),
    )
    for image in range(2):
        product = refer_rollout([attention[image] for attention in layers])
        rows = {"token": product[0], "gap": product[prefix:].mean(0)}
        expected = rows[head] if pool is None else pool[image].mean(0) @ product
        np.testing.assert_allclose(weights[image].flatten().numpy(), expected[prefix:], rtol=1e-5)


def test_attention_of_the_reader_is_that_of_the_class_tokens_or_the_mean_of_the_patches():
    attention = torch.from_numpy(make_attention(2, SIDE**2 + 2)[0]).float()
    for class_tokens, rows in ((1, slice(0, 1)), (2, slice(0, 2)), (0, slice(2, None))):
        layout = AttentionLayout(LAYERS, HEADS, 2, SIDE, class_tokens)
        expected = attention[:, :, rows, 2:].mean(2).view(2, HEADS, SIDE, SIDE)
        torch.testing.assert_close(attention_of_reader(attention, layout), expected)
