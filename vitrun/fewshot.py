"""``vitrun fewshot``: a closed-form linear classifier on frozen features of a few images a class.

The paper's metric (section 4.1) as big_vision computes it (evaluators/fewshot_lsr.py): features standardised by the
subset's mean and deviation, a constant feature, ridge regression to targets in {-1, 1}.
"""

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vitrun import recipe, weights
from vitrun.embed import embed
from vitrun.images import open_parts
from vitrun.machine import Machine
from vitrun.mistakes import Mistake
from vitrun.run import Run

CONSTANT = 100.0  # the feature that stands for the bias: its ridge is l2 / 10^4


def main(recipe: recipe.Fewshot, run: Run) -> dict[str, Any]:
    """Mean and deviation over the seeds of the test accuracy at each number of shots."""
    machine = Machine(recipe.device, recipe.precision)
    train, test = open_parts(recipe.data, ("train", "test"), run, recipe.bad_images == "skip")
    if train.labels.ndim > 1 or test.labels.ndim > 1:
        raise Mistake(f"data={recipe.data.name} has images of several labels; fewshot knows one label an image.")
    loaded = weights.load(recipe.init, recipe.runs, 0, run.say, res=recipe.res)
    if run.dry:
        return {"train_images": len(train), "test_images": len(test)}
    (x, y), (x_test, y_test) = (embed(recipe, run, machine, loaded, recipe.data, split) for split in (train, test))
    accuracies, drawn = {}, {}
    for seed in recipe.seeds:
        order = draw(y.numpy(), seed)
        for shots in recipe.shots:
            subset = torch.from_numpy(np.concatenate([rows[:shots] for rows in order]))
            accuracies[seed, shots] = accuracy(x[subset], y[subset], x_test, y_test, len(train.classes), recipe.l2)
            drawn[f"seed {seed}, {shots} shots"] = [train.keys[i] for i in subset.tolist()]
    run.write("drawn.json", lambda path: path.write_text(json.dumps(drawn), encoding="utf-8"))
    result = {}
    for shots in recipe.shots:
        values = [accuracies[seed, shots] for seed in recipe.seeds]
        result[f"shot{shots}"] = float(np.mean(values))
        result[f"shot{shots}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {**result, "images_used": len(test), "images_expected": len(test) + test.skipped}


def draw(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    """For each class a random order of its rows, whose first k are the k shots: a seed's subsets are nested."""
    generator = np.random.default_rng(seed)
    return [generator.permutation(np.flatnonzero(labels == label)) for label in range(labels.max() + 1)]


def accuracy(x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor, classes: int, l2: float) -> float:
    """Test accuracy of the ridge classifier fitted to x [N, D] and y [N]."""
    mean, deviation = x.mean(0), x.std(0, correction=0) + 1e-5
    solution = ridge(standardise(x, mean, deviation), y, classes, l2)
    return float((standardise(x_test, mean, deviation) @ solution).argmax(1).eq(y_test).float().mean())


def standardise(x: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Each feature centred and scaled, and the constant one behind them: [N, D] -> [N, D + 1]."""
    return functional.pad((x - mean) / deviation, (0, 1), value=CONSTANT)


def ridge(x: Tensor, y: Tensor, classes: int, l2: float) -> Tensor:
    """(X'X + l2 I)^-1 X'Y with Y in {-1, 1}: [N, D], [N] -> [D, C], by one eigendecomposition of X'X or XX'."""
    x = x.double()  # a float32 Gram matrix holds the constant's 10^4 N beside ones
    targets = functional.one_hot(y, classes).to(x) * 2 - 1
    wide = len(x) < x.shape[1]
    gram = x @ x.T if wide else x.T @ x
    values, vectors = torch.linalg.eigh(gram)
    inverse = vectors @ ((vectors.T @ (targets if wide else x.T @ targets)) / (values + l2)[:, None])
    return (x.T @ inverse if wide else inverse).float()
