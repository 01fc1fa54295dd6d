"""``vitrun pretrain``: train a model from scratch."""

from typing import Any

import torch

from vitrun import models, recipes
from vitrun.config import resolve
from vitrun.engine import trainer
from vitrun.engine.masked_patches import MaskedPatchObjective
from vitrun.recipes import DEFAULT_RES
from vitrun.runs.run import Run
from vitrun.runtime import random

RARE_CLASS_BIAS = (
    -10.0
)  # the head's bias under the sigmoid loss: every class is rare at first (big_vision, configs/vit_i21k.py)


def execute(recipe: recipes.Pretrain, run: Run) -> dict[str, Any]:
    """The result of training ``recipe.model`` on ``recipe.data``."""
    res = recipe.res or DEFAULT_RES
    models.check_model(recipe.model, res)
    train, test = trainer.open_data(recipe, run, recipe.exclude)
    probes = {"probes": resolve.resolve_probe_recipes(recipe), "probed_every": recipe.fewshot.every}
    torch.manual_seed(random.derive_seed(recipe.seed, "weights"))
    if not recipe.uses_labels:
        masking = MaskedPatchObjective(recipe.objective, recipe.model.patch, recipe.seed)
        network = models.build_masked(recipe.model, masking.output_size, res)
        return trainer.train(recipe, trainer.Plan(network, network.row, res, train, test, masking, **probes), run)
    bias = recipe.head_bias
    if bias is None:
        bias = RARE_CLASS_BIAS if recipe.loss == "sigmoid" else 0.0
    network = models.build(recipe.model, len(train.classes), res, bias)
    return trainer.train(recipe, trainer.Plan(network, recipe.model, res, train, test, **probes), run)
