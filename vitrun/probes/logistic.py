"""The linear probe: multinomial logistic regression on frozen features of all training images, to convergence.

As CLIP has it (arXiv 2103.00020, appendix A.3): L-BFGS of at most 1000 iterations, the penalty chosen from a grid on
held-out images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

MAX_ITERATIONS = 1000
GRADIENT_TOLERANCE = 1e-5  # the largest partial derivative of the loss at which it counts as minimal
HISTORY_SIZE = 10  # pairs of steps and gradients that L-BFGS keeps


@dataclass(frozen=True)
class LinearProbeResult:
    """A linear classifier's accuracy on the test part and on the held-out tenth, its l2, and whether it converged."""

    accuracy: float
    held_out: float
    l2: float
    converged: bool


def evaluate_linear_probe(
    x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor, classes: int, l2s: Sequence[float]
) -> LinearProbeResult:
    """What logistic regression of labels [N] on features [N, D] finds on those of the test part.

    Each feature is standardised by all training images. The first of ``l2s`` that is best on a tenth of the training
    images, the same at every call, when fitted to the rest, is fitted to all.
    """
    mean, deviation = x.mean(0), x.std(0, correction=0) + 1e-5
    x, x_test = (x - mean) / deviation, (x_test - mean) / deviation
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(x))).to(x.device)
    held, rest = order[: max(1, len(x) // 10)], order[max(1, len(x) // 10) :]
    scores = {}
    for l2 in l2s:
        weights, _ = fit_logistic(x[rest], y[rest], classes, l2)
        scores[l2] = compute_accuracy(x[held], y[held], weights)
    best = max(scores, key=scores.get)
    weights, converged = fit_logistic(x, y, classes, best)
    return LinearProbeResult(compute_accuracy(x_test, y_test, weights), scores[best], best, converged)


def fit_logistic(x: Tensor, y: Tensor, classes: int, l2: float) -> tuple[Tensor, bool]:
    """The minimum over W [D + 1, C] of mean cross-entropy + l2/2 |W|^2, the last row a bias that is not penalised.

    And whether it was reached. scikit-learn's ``LogisticRegression`` has the same minimum for C = 1 / (N l2).
    """
    weights = torch.zeros(x.shape[1] + 1, classes, device=x.device, requires_grad=True)
    minimiser = torch.optim.LBFGS(
        [weights], max_iter=MAX_ITERATIONS, max_eval=2 * MAX_ITERATIONS, tolerance_grad=GRADIENT_TOLERANCE, tolerance_change=0.0,
        history_size=HISTORY_SIZE, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss() -> Tensor:
        minimiser.zero_grad()
        value = functional.cross_entropy(compute_logits(x, weights), y) + l2 / 2 * weights[:-1].square().sum()
        value.backward()
        return value

    minimiser.step(loss)
    loss()
    return weights.detach(), bool(weights.grad.abs().max() <= 10 * GRADIENT_TOLERANCE)


def compute_logits(x: Tensor, weights: Tensor) -> Tensor:
    """[N, D], [D + 1, C] -> [N, C]."""
    return torch.addmm(weights[-1], x, weights[:-1])


def compute_accuracy(x: Tensor, y: Tensor, weights: Tensor) -> float:
    """The share of features whose largest logit is at their label."""
    return float(compute_logits(x, weights).argmax(1).eq(y).float().mean())
