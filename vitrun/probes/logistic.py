"""Linear probe: multinomial logistic regression on frozen features of all training images, to convergence.

As in CLIP (arXiv 2103.00020, appendix A.3): L-BFGS of at most 1000 iterations, the penalty chosen from a grid on
held-out images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

MAX_ITERATIONS = 1000
GRADIENT_TOLERANCE = 1e-5  # the largest partial derivative of the loss at which it counts as minimal
HISTORY_SIZE = 10  # pairs of steps and gradients that L-BFGS stores


@dataclass(frozen=True)
class LinearProbeResult:
    """A linear classifier with its accuracy on the test part and on the held-out tenth, and its l2."""

    accuracy: float
    held_out: float
    l2: float
    converged: bool
    head: nn.Linear = field(repr=False, compare=False)  # the classifier of features that are not standardized


def evaluate_linear_probe(
    x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor, classes: int, l2s: Sequence[float]
) -> LinearProbeResult:
    """Fit logistic regression to features [N, D] with labels [N], and measure it on those of the test part.

    Each feature is standardized by all training images. The ``l2`` that is best on a tenth of the training images, the
    same tenth at every call, after fitting to the rest (the first of equal ones) is fitted to all.
    """
    mean, deviation = x.mean(0), x.std(0, correction=0) + 1e-5
    x, x_test = (x - mean) / deviation, (x_test - mean) / deviation
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(x))).to(x.device)
    held_out, rest = order[: max(1, len(x) // 10)], order[max(1, len(x) // 10) :]
    scores = {}
    for l2 in l2s:
        weights, _ = fit_logistic(x[rest], y[rest], classes, l2)
        scores[l2] = compute_accuracy(x[held_out], y[held_out], weights)
    best = max(scores, key=lambda l2: scores[l2])
    weights, converged = fit_logistic(x, y, classes, best)
    accuracy, head = compute_accuracy(x_test, y_test, weights), fold_standardization(weights, mean, deviation)
    return LinearProbeResult(accuracy, scores[best], best, converged, head)


def fold_standardization(weights: Tensor, mean: Tensor, deviation: Tensor) -> nn.Linear:
    """Return the linear layer [D] -> [C] that maps features to what ``weights`` [D + 1, C] map standardized ones to."""
    scaled = weights[:-1].double() / deviation.double()[:, None]
    head = nn.Linear(len(scaled), scaled.shape[1], device=weights.device)
    with torch.no_grad():
        head.weight.copy_(scaled.T)
        head.bias.copy_(weights[-1] - mean.double() @ scaled)
    return head


def fit_logistic(x: Tensor, y: Tensor, classes: int, l2: float) -> tuple[Tensor, bool]:
    """Return the W [D + 1, C] that minimizes mean cross-entropy + l2/2 |W|^2, and whether the minimum was reached.

    The last row is a bias, which is not penalized. scikit-learn's ``LogisticRegression`` has the same minimum for
    C = 1 / (N l2).
    """
    weights = torch.zeros(x.shape[1] + 1, classes, device=x.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights],
        max_iter=MAX_ITERATIONS,
        max_eval=2 * MAX_ITERATIONS,
        tolerance_grad=GRADIENT_TOLERANCE,
        tolerance_change=0.0,
        history_size=HISTORY_SIZE,
        line_search_fn="strong_wolfe",
    )

    def compute_loss() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(compute_logits(x, weights), y) + l2 / 2 * weights[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(compute_loss)
    compute_loss()
    assert weights.grad is not None  # computed by compute_loss
    return weights.detach(), bool(weights.grad.abs().max() <= 10 * GRADIENT_TOLERANCE)


def compute_logits(x: Tensor, weights: Tensor) -> Tensor:
    """Return the logits of features: [N, D], [D + 1, C] -> [N, C]."""
    return torch.addmm(weights[-1], x, weights[:-1])


def compute_accuracy(x: Tensor, y: Tensor, weights: Tensor) -> float:
    """Return the share of features whose largest logit is at their label."""
    return float(compute_logits(x, weights).argmax(1).eq(y).float().mean())
