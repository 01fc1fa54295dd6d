"""Principal filters and similarity of positions equal references in float64, written from their definitions."""

import numpy as np
import torch
from sklearn.decomposition import PCA

from vitrun.probes.weight_images import position_similarity, principal_filters


def test_principal_filters_are_those_of_scikit_learn():
    weights = np.random.default_rng(0).normal(size=(40, 3, 4, 4)) * np.linspace(3, 0.1, 48).reshape(3, 4, 4)
    filters, explained = principal_filters(torch.from_numpy(weights), 28)
    reference = PCA(28, svd_solver="full").fit(weights.reshape(40, -1))
    signs = np.sign((reference.components_ * filters.flatten(1).numpy()).sum(1))
    np.testing.assert_allclose(filters.flatten(1).numpy(), signs[:, None] * reference.components_, atol=1e-9)
    np.testing.assert_allclose(explained.numpy(), reference.explained_variance_ratio_, atol=1e-9)
    flat = filters.flatten(1)
    assert (flat.gather(1, flat.abs().argmax(1, keepdim=True)) > 0).all(), "the sign does not depend on the library"


def test_there_are_no_more_principal_filters_than_filters_or_pixels():
    assert principal_filters(torch.randn(5, 3, 4, 4), 28).filters.shape == (5, 3, 4, 4)
    assert principal_filters(torch.randn(50, 3, 2, 2), 28).filters.shape == (12, 3, 2, 2)
    assert principal_filters(torch.zeros(5, 3, 4, 4), 3).explained.tolist() == [0, 0, 0]


def test_similarity_of_positions_is_the_cosine_and_1_at_the_own_place():
    table = np.random.default_rng(0).normal(size=(3, 3, 5))
    similarity, places = position_similarity(torch.from_numpy(table), 14)
    assert places.tolist() == [0, 1, 2]
    for r, c, i, j in np.ndindex(3, 3, 3, 3):
        a, b = table[r, c], table[i, j]
        expected = (a @ b) / (np.sqrt(a @ a) * np.sqrt(b @ b))
        np.testing.assert_allclose(similarity[r, c, i, j], expected, atol=1e-12)
        assert (r, c) != (i, j) or abs(expected - 1) < 1e-12


def test_of_a_large_grid_some_places_are_shown_each_with_all_others():
    table = torch.randn(9, 9, 5)
    every, _ = position_similarity(table, 9)
    some, places = position_similarity(table, 3)
    assert places.tolist() == [0, 4, 8] and some.shape == (3, 3, 9, 9)
    torch.testing.assert_close(some, every[places][:, places])
    assert not position_similarity(torch.zeros(2, 2, 3), 2)[0].any(), "positions that are zero are like none"
