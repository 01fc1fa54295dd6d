"""Few-shot probe: a closed-form linear classifier of frozen features, fitted to a few images a class.

The paper's metric (arXiv 2010.11929, section 4.1) as big_vision computes it (evaluators/fewshot_lsr.py): features
standardized by the subset's mean and deviation, a constant feature, ridge regression to targets in {-1, 1}.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vitrun.probes.draws import Draws
from vitrun.runs.metrics import Metric

BIAS_FEATURE = 100.0  # the constant feature whose weight is the bias: the ridge on the bias is l2 / 10^4
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Features:
    """Features [N, D] and labels [N] of N images, and the number of classes."""

    x: Tensor
    y: Tensor
    classes: int


@dataclass(frozen=True)
class Classifier:
    """A linear classifier [D + 1, C] of features that are standardized by a mean [D] and a deviation [D]."""

    mean: Tensor
    deviation: Tensor
    weights: Tensor

    def score(self, x: Tensor) -> Tensor:
        """Return the scores of features [N, D], fitted to 1 for the label and -1 for other classes: [N, C]."""
        return standardize(x, self.mean, self.deviation) @ self.weights

    def accuracy(self, x: Tensor, y: Tensor) -> float:
        """Return the share of features [N, D] whose highest score is at their label [N]."""
        return float(self.score(x).argmax(1).eq(y).float().mean())


@dataclass(frozen=True)
class DrawResult:
    """One draw: its seed, its images a class, their rows in the training part, its l2 and its test accuracy."""

    seed: int
    shots: int
    rows: np.ndarray
    l2: float
    accuracy: float
    classifier: Classifier | None = None  # of the draws with most images a class


def evaluate_few_shot(draws: Draws, train: Features, test: Features, l2s: Sequence[float]) -> list[DrawResult]:
    """Fit a classifier to each draw, and measure it on all of ``test``; ``train`` has the images at ``draws.rows``.

    If there are several ``l2s``, each draw uses the one that is best on its held-out training images, the first of
    equal ones.
    """
    results = []
    most = max(draw.shots for draw in draws.draws)
    for draw in draws.draws:
        rows, held_out = draws.locate(draw.rows), draws.locate(draw.held_out)
        classifiers = fit_classifiers(train.x[rows], train.y[rows], train.classes, l2s)
        best = 0
        if len(l2s) > 1:
            best = int(np.argmax([c.accuracy(train.x[held_out], train.y[held_out]) for c in classifiers]))
        chosen = classifiers[best]
        accuracy, classifier = chosen.accuracy(test.x, test.y), chosen if draw.shots == most else None
        results.append(DrawResult(draw.seed, draw.shots, draw.rows, l2s[best], accuracy, classifier))
    return results


def fit_classifiers(x: Tensor, y: Tensor, classes: int, l2s: Sequence[float]) -> list[Classifier]:
    """Return the ridge classifier of features [N, D] and labels [N] for each l2.

    A feature that is constant in these images gets the weight 0, since its mean in float64 is that constant. In float32
    a rounding error of the mean, divided by 1e-5, would count as a feature.
    """
    mean, deviation = x.double().mean(0).float(), x.double().std(0, correction=0).float() + 1e-5
    return [Classifier(mean, deviation, w) for w in solve_ridge(standardize(x, mean, deviation), y, classes, l2s)]


def standardize(x: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Centre and scale each feature, and append the constant one: [N, D] -> [N, D + 1]."""
    return functional.pad((x - mean) / deviation, (0, 1), value=BIAS_FEATURE)


def solve_ridge(x: Tensor, y: Tensor, classes: int, l2s: Sequence[float]) -> list[Tensor]:
    """Return (X'X + l2 I)^-1 X'Y with Y in {-1, 1} for each l2: [N, D], [N] -> [D, C].

    One eigendecomposition, of X'X or of XX', whichever is smaller, serves all.
    """
    x = x.double()  # a float32 Gram matrix would hold 10^4 N, of the constant, beside values near 1
    targets = functional.one_hot(y, classes).to(x) * 2 - 1
    wide = len(x) < x.shape[1]
    values, vectors = torch.linalg.eigh(x @ x.T if wide else x.T @ x)
    rotated = vectors.T @ (targets if wide else x.T @ targets)
    inverses = [vectors @ (rotated / (values + l2)[:, None]) for l2 in l2s]
    return [(x.T @ inverse if wide else inverse).float() for inverse in inverses]


def summarize_draws(draws: Sequence[DrawResult]) -> dict[int, Metric]:
    """Return the accuracy for each number of shots: mean, deviation and 95 % interval over the seeds."""
    return {
        shots: summarize_accuracies([draw.accuracy for draw in draws if draw.shots == shots])
        for shots in dict.fromkeys(draw.shots for draw in draws)
    }


def summarize_accuracies(values: Sequence[float]) -> Metric:
    """Return the mean of accuracies with its deviation and 95 % interval, if there are several."""
    mean = float(np.mean(values))
    if len(values) == 1:
        return Metric(mean, "share")
    return Metric(mean, "share", float(np.std(values, ddof=1)), ci95_half_width(values))


def list_chosen_l2(draws: Sequence[DrawResult]) -> dict[str, list[float]]:
    """Return the l2 of each draw by its number of shots, in the order of the seeds."""
    return {
        str(shots): [draw.l2 for draw in draws if draw.shots == shots]
        for shots in dict.fromkeys(draw.shots for draw in draws)
    }


def ci95_half_width(values: Sequence[float]) -> float:
    """Return half the 95 % confidence interval of the mean of n values: t s / sqrt(n), s their deviation (n - 1).

    t is the 97.5 % point of Student's distribution of n - 1 degrees of freedom ("Student", The probable error of a
    mean, Biometrika 6, 1908): 4.303 for three draws. The interval is about other draws of the same training images.
    """
    return float(student_point(len(values) - 1, CONFIDENCE) * np.std(values, ddof=1) / np.sqrt(len(values)))


def student_point(freedom: int, share: float) -> float:
    """Return the t with P(|T| < t) = ``share`` of Student's distribution, by bisection.

    The distribution for whole degrees of freedom: Abramowitz and Stegun, Handbook of Mathematical Functions (1964),
    26.7.3 and 26.7.4.
    """

    def probability(angle: float) -> float:
        """Return P(|T| < tan(angle) sqrt(freedom))."""
        odd, cosine = freedom % 2, np.cos(angle)
        powers = np.arange(odd, freedom - 1, 2)  # of the cosine
        factors = np.cumprod(np.r_[1.0, (powers[:-1] + 1) / (powers[:-1] + 2)])[: len(powers)]
        series = np.sin(angle) * float(np.sum(factors * cosine**powers))
        return float(2 / np.pi * (angle + series) if odd else series)

    low, high = 0.0, np.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if probability(middle) < share else (low, middle)
    return float(np.tan(high) * np.sqrt(freedom))


def format_accuracy(accuracy: Metric) -> str:
    """Return ``57.3 +- 5.2 (95 %: 44.4 to 70.2)``: the mean, the deviation and the interval, in percent."""
    if accuracy.std is None or not accuracy.ci95:
        return f"{100 * accuracy.mean:.1f}"
    mean, std, half = 100 * accuracy.mean, 100 * accuracy.std, 100 * accuracy.ci95
    return f"{mean:.1f} +- {std:.1f} (95 %: {mean - half:.1f} to {mean + half:.1f})"
