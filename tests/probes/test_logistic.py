"""The logistic probe reaches the minimum, and never chooses by the test set."""

import numpy as np
import torch

from helpers.features import make_clusters
from vitrun.probes import logistic


def test_the_linear_probe_reaches_the_minimum_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    train = make_clusters(200)
    weights, converged = logistic.fit_logistic(train.x, train.y, 3, 0.01)
    reference = LogisticRegression(C=1 / (200 * 0.01), tol=1e-8, max_iter=10_000).fit(train.x.numpy(), train.y.numpy())
    assert converged
    np.testing.assert_allclose(weights[:-1].T, reference.coef_, atol=2e-3)
    np.testing.assert_allclose(weights[-1] - weights[-1].mean(), reference.intercept_, atol=2e-3)


def test_the_linear_probe_never_chooses_by_test_accuracy():
    train, test, l2s = make_clusters(200), make_clusters(90, seed=1), (10.0, 0.01, 1e-4)
    result = logistic.evaluate_linear_probe(train.x, train.y, test.x, test.y, 3, l2s)
    other = logistic.evaluate_linear_probe(train.x, train.y, -test.x, test.y, 3, l2s)
    assert (result.l2, result.held_out) == (other.l2, other.held_out) and result.accuracy > 0.7 > other.accuracy


def test_the_head_of_a_probe_gives_features_the_logits_of_standardized_ones():
    torch.manual_seed(0)
    x, weights = torch.randn(50, 6) * 3 + 10, torch.randn(7, 4)
    mean, deviation = x.mean(0), x.std(0, correction=0)
    expected = logistic.compute_logits((x - mean) / deviation, weights)
    logits = logistic.fold_standardization(weights, mean, deviation)(x)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-5)
