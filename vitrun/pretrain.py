"""``vitrun pretrain``: train a model from scratch."""

from typing import Any

import torch

from vitrun import draws, models, recipe, start, training
from vitrun.masking import Masking
from vitrun.recipe import NATIVE
from vitrun.run import Run

RARE = -10.0  # the head's bias under the sigmoid loss: every class is rare at first (big_vision, configs/vit_i21k.py)


def main(recipe: recipe.Pretrain, run: Run) -> dict[str, Any]:
    """The result of training ``recipe.model`` on ``recipe.data``."""
    res = recipe.res or NATIVE
    models.check(recipe.model, res)
    train, test = training.open_data(recipe, run, recipe.exclude)
    probes = {"probes": start.probes(recipe), "probed_every": recipe.fewshot.every}
    torch.manual_seed(draws.key(recipe.seed, "weights"))
    if not recipe.labelled:
        masking = Masking(recipe.objective, recipe.model.patch, recipe.seed)
        network = models.build_masked(recipe.model, masking.outputs, res)
        return training.train(recipe, training.Plan(network, network.row, res, train, test, masking, **probes), run)
    bias = recipe.head_bias
    if bias is None:
        bias = RARE if recipe.loss == "sigmoid" else 0.0
    network = models.build(recipe.model, len(train.classes), res, bias)
    return training.train(recipe, training.Plan(network, recipe.model, res, train, test, **probes), run)
