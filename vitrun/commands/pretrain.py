"""``vitrun pretrain``: train a model from scratch."""

from typing import Any

import torch

from vitrun import models, recipes
from vitrun.config import resolve
from vitrun.engine.inputs import open_training_data
from vitrun.engine.trainer import Trainer
from vitrun.objectives import build_objective
from vitrun.objectives.class_weights import weigh_classes
from vitrun.probes.online_probe import OnlineProbe
from vitrun.recipes import DEFAULT_RES
from vitrun.runs.run import Run
from vitrun.runtime import random
from vitrun.runtime.device import Machine


def execute(recipe: recipes.Pretrain, run: Run) -> dict[str, Any]:
    """Train ``recipe.model`` on ``recipe.data``; return the metrics, or the cost if it is a dry run."""
    res = recipe.res or DEFAULT_RES
    models.check_model(recipe.model, res)
    machine = Machine(recipe.device, recipe.precision)
    objective = build_objective(recipe)
    train, test = open_training_data(recipe, run, recipe.exclude)
    objective.check_data(train, test)
    objective = weigh_classes(objective, recipe, train, run.log)
    probes = resolve.resolve_probe_recipes(recipe)
    every = recipe.fewshot.every
    online = () if every is None else (OnlineProbe(probes, every, res, run, machine),)
    torch.manual_seed(random.derive_seed(recipe.seed, "weights"))
    loaded = objective.build_model(recipe.model, train, res)
    trainer = Trainer(recipe, loaded, objective, train, test, run, machine, online)
    return trainer.rehearse() if run.dry else trainer.train()
