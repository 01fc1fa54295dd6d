"""Few-shot accuracy of frozen features: a closed-form linear classifier on a few images a class.

The paper's metric (arXiv 2010.11929, section 4.1) as big_vision computes it (evaluators/fewshot_lsr.py): features
standardised by the subset's mean and deviation, a constant feature, ridge regression to targets in {-1, 1}.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vitrun.errors import ExitCode, UserError

BIAS_FEATURE = 100.0  # the feature that stands for the bias: its ridge is l2 / 10^4
HELD_OUT_PER_CLASS = 25  # images a class at most by which one of several l2 is chosen
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Features:
    """What a network makes of N images: features [N, D], labels [N], and the number of classes."""

    x: Tensor
    y: Tensor
    classes: int


@dataclass(frozen=True)
class DrawResult:
    """What one draw gave: its seed, its images a class, their rows in the training part, its l2 and test accuracy."""

    seed: int
    shots: int
    rows: Tensor
    l2: float
    accuracy: float


@dataclass(frozen=True)
class Classifier:
    """A linear classifier [D + 1, C] of features standardised by a mean [D] and a deviation [D]."""

    mean: Tensor
    deviation: Tensor
    weights: Tensor

    def accuracy(self, x: Tensor, y: Tensor) -> float:
        """The share of features [N, D] whose highest score is at their label [N]."""
        return float((standardize(x, self.mean, self.deviation) @ self.weights).argmax(1).eq(y).float().mean())


def evaluate_few_shot(
    train: Features, test: Features, shots: Sequence[int], seeds: Sequence[int], l2s: Sequence[float]
) -> list[DrawResult]:
    """A draw for each seed and number of shots, its classifier fitted to them and counted on all of ``test``.

    Of several ``l2s`` each draw takes the best, of equal ones the first, on a held-out part of the training images: of
    each class the 25 (or as many as there are) that in the seed's order follow the largest number of shots. So it is
    the same part for all shots of a seed, and no draw of the seed holds an image of it. A UserError where there is none.
    """
    draws = []
    for seed in seeds:
        order = shuffle_by_class(train.y.numpy(), seed)
        held = concatenate_rows(rows[max(shots) :][:HELD_OUT_PER_CLASS] for rows in order) if len(l2s) > 1 else None
        if held is not None and len(held) == 0:
            values = ",".join(f"{l2:g}" for l2 in l2s)
            why = f"with {max(shots)} shots no training image is left to choose by: give one l2, or fewer shots."
            raise UserError(f"l2=[{values}]: {why}", ExitCode.DATA)
        for number in shots:
            rows = concatenate_rows(rows[:number] for rows in order)
            found = fit_classifiers(train.x[rows], train.y[rows], train.classes, l2s)
            scores = [0.0] if held is None else [one.accuracy(train.x[held], train.y[held]) for one in found]
            best = int(np.argmax(scores))
            draws.append(DrawResult(seed, number, rows, l2s[best], found[best].accuracy(test.x, test.y)))
    return draws


def shuffle_by_class(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    """For each class a random order of its rows, whose first k are the k shots: a seed's subsets are nested."""
    generator = np.random.default_rng(seed)
    return [generator.permutation(np.flatnonzero(labels == label)) for label in range(labels.max() + 1)]


def concatenate_rows(parts) -> Tensor:
    """Arrays of rows as one."""
    return torch.from_numpy(np.concatenate(list(parts)))


def fit_classifiers(x: Tensor, y: Tensor, classes: int, l2s: Sequence[float]) -> list[Classifier]:
    """The ridge classifier of x [N, D] and y [N] for each l2."""
    mean, deviation = x.mean(0), x.std(0, correction=0) + 1e-5
    return [Classifier(mean, deviation, w) for w in solve_ridge(standardize(x, mean, deviation), y, classes, l2s)]


def standardize(x: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Each feature centred and scaled, and the constant one behind them: [N, D] -> [N, D + 1]."""
    return functional.pad((x - mean) / deviation, (0, 1), value=BIAS_FEATURE)


def solve_ridge(x: Tensor, y: Tensor, classes: int, l2s: Sequence[float]) -> list[Tensor]:
    """(X'X + l2 I)^-1 X'Y with Y in {-1, 1} for each l2: [N, D], [N] -> [D, C].

    By one eigendecomposition of X'X, or of XX' where that is smaller.
    """
    x = x.double()  # a float32 Gram matrix holds the constant's 10^4 N beside ones
    targets = functional.one_hot(y, classes).to(x) * 2 - 1
    wide = len(x) < x.shape[1]
    values, vectors = torch.linalg.eigh(x @ x.T if wide else x.T @ x)
    turned = vectors.T @ (targets if wide else x.T @ targets)
    inverses = [vectors @ (turned / (values + l2)[:, None]) for l2 in l2s]
    return [(x.T @ inverse if wide else inverse).float() for inverse in inverses]


def summarize_draws(draws: Sequence[DrawResult], chosen: bool = False) -> dict[str, float | str]:
    """For each number of shots ``shot5``, the mean accuracy over the seeds, its deviation and half its 95 % interval.

    Where l2 was ``chosen``, ``shot5_l2`` is what each draw took, in the order of the seeds.
    """
    found = {}
    for shots in dict.fromkeys(one.shots for one in draws):
        of_these = [one for one in draws if one.shots == shots]
        values = [one.accuracy for one in of_these]
        found[f"shot{shots}"] = float(np.mean(values))
        if len(values) > 1:
            found[f"shot{shots}_std"] = float(np.std(values, ddof=1))
            found[f"shot{shots}_ci95"] = ci95_half_width(values)
        if chosen:
            found[f"shot{shots}_l2"] = " ".join(f"{one.l2:g}" for one in of_these)
    return found


def ci95_half_width(values: Sequence[float]) -> float:
    """Half the 95 % confidence interval of the mean of n values: t s / sqrt(n), s their deviation (n - 1).

    t is the 97.5 % point of Student's distribution of n - 1 degrees of freedom ("Student", The probable error of a
    mean, Biometrika 6, 1908): 4.303 for three draws. It tells of other draws from the same training images.
    """
    from scipy.special import stdtrit

    point = stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)
    return float(point * np.std(values, ddof=1) / np.sqrt(len(values)))


def format_accuracy(name: str, found: dict[str, float | str]) -> str:
    """``57.3 +- 5.2 (95 %: 44.4 to 70.2)``: the mean, the deviation and the interval of ``name``, in percent."""
    mean, std, half = (100 * found.get(f"{name}{part}", 0.0) for part in ("", "_std", "_ci95"))
    if not half:
        return f"{mean:.1f}"
    return f"{mean:.1f} +- {std:.1f} (95 %: {mean - half:.1f} to {mean + half:.1f})"
