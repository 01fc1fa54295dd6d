"""Weights of the classes in the loss, for data sets whose classes differ in size."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from vitrun.data import Split
from vitrun.engine.interfaces import Objective
from vitrun.errors import UserError
from vitrun.objectives.labels import LabelObjective
from vitrun.recipes import Training


def weigh_classes(objective: Objective, recipe: Training, train: Split, log: Callable[[str], None]) -> Objective:
    """Return the objective with the class weights of the recipe, which are logged; unchanged if it has none."""
    if recipe.class_weights == "none":
        return objective
    if not isinstance(objective, LabelObjective) or train.labels.ndim > 1:
        why = "needs one label per image: leave it out."
        raise UserError(why, option="class_weights", value=recipe.class_weights)
    weights = balance_weights(train.labels, len(train.classes))
    present = np.flatnonzero(weights)
    low, high = present[weights[present].argmin()], present[weights[present].argmax()]
    log(f"class weights: {weights[low]:.3g} ({train.classes[low]}) to {weights[high]:.3g} ({train.classes[high]})")
    shared = torch.from_numpy(weights).float()
    shared = shared.pin_memory() if torch.cuda.is_available() else shared  # sent with every micro-batch
    return replace(objective, class_weights=shared)


def balance_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return N / (classes that have images * images of the class) for each class, 0 for one without: [N] -> [C].

    As ``class_weight="balanced"`` of scikit-learn. Over all images the weights sum to N, so that a learning rate means
    the same as without them. Unlike in torch's ``CrossEntropyLoss(weight)``, a batch is not divided by its own weights.
    """
    counts = np.bincount(labels, minlength=classes)
    return np.divide(len(labels) / np.count_nonzero(counts), counts, out=np.zeros(classes), where=counts > 0)
