"""``vitrun finetune``: adapt pretrained weights to a data set."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from vitrun import data, models, recipes
from vitrun.commands import lr_search, vtab_suite
from vitrun.commands.kept_head import keep_head
from vitrun.commands.rounds import train_rounds
from vitrun.commands.run_plan import plan_run
from vitrun.commands.teacher import add_teacher
from vitrun.engine import weights
from vitrun.engine.freezing import freeze
from vitrun.engine.inputs import open_training_data
from vitrun.engine.interfaces import Objective
from vitrun.engine.rehearsal import rehearse
from vitrun.engine.trained_on import check_not_trained_on
from vitrun.engine.trainer import Trainer
from vitrun.errors import UserError
from vitrun.objectives.class_weights import weigh_classes
from vitrun.objectives.detection import DetectionObjective
from vitrun.objectives.labels import LabelObjective
from vitrun.objectives.pixels import add_generative_loss
from vitrun.recipes.detector_rows import make_detector_row
from vitrun.runs.run import Run
from vitrun.runtime import random
from vitrun.runtime.device import Machine


def execute(recipe: recipes.Finetune, run: Run) -> dict[str, Any]:
    """Fine-tune once, in rounds, by a grid and seeds, or on each task of a suite; return the metrics."""
    if recipe.data.source == "suite":
        return vtab_suite.run_suite(recipe, run, execute)
    if recipe.rounds > 1:
        return train_rounds(recipe, run, finetune_once)
    if recipe.grid or recipe.seeds:
        return lr_search.search_learning_rate(recipe, run, finetune_once)
    return finetune_once(recipe, run)


def finetune_once(
    recipe: recipes.Finetune, run: Run, open_split: Callable[..., data.Split] = data.open_split
) -> dict[str, Any]:
    """Train the weights ``recipe.init``; return the metrics, or the cost if it is a dry run."""
    objective: Objective = (DetectionObjective if recipe.detects else LabelObjective).from_recipe(recipe)
    if recipe.on is not None:
        model = weights.find_model(recipe.init, recipe.runs)
        if recipe.detects:
            model = make_detector_row(model, recipe.detect.model, recipe.res or recipes.DEFAULT_RES)
        else:
            weights.check_not_detector(model, recipe.init)
        return plan_run(recipe, objective, model, run)
    weights.check_init(recipe.init, recipe.res)
    machine = Machine(recipe.device, recipe.precision)
    images = open_training_data(recipe, run, dev=recipe.dev, score=recipe.score, open_split=open_split)
    train, test, held_out = images
    check_not_trained_on(recipe, test, run.warn)
    objective.check_data(train, test)
    objective = weigh_classes(objective, recipe, train, run.log)
    loaded = replace(load_network(recipe, run, train), names=train.classes)
    freeze(loaded.network, recipe.train, recipe.freeze)
    objective = add_generative_loss(objective, loaded.network, recipe.generative)
    objective, pseudo, cost = add_teacher(recipe, objective, images, run, machine)
    trainer = Trainer(recipe, loaded, objective, train, test, run, machine, held_out=held_out, pseudo=pseudo)
    return rehearse(trainer) | cost if run.dry else trainer.train()


def load_network(recipe: recipes.Finetune, run: Run, train: data.Split) -> models.LoadedModel:
    """Return the weights with a new head of zeros or their own head; for a data set with boxes return a detector."""
    noise = (recipe.dropout, recipe.stochastic_depth)
    if recipe.detects:
        body = weights.load_body_for_detector(recipe, run)
        return load_detector(recipe, models.with_noise(body, *noise), train, run)
    loaded = weights.load_for_run(recipe, run, recipe.seed, len(train.classes) if recipe.head == "new" else None)
    weights.check_not_detector(loaded.model, recipe.init)
    if recipe.head == "keep":
        loaded = keep_head(recipe, loaded, train)
    return models.with_noise(loaded, *noise)


def load_detector(
    recipe: recipes.Finetune, loaded: models.LoadedModel, train: data.Split, run: Run
) -> models.LoadedModel:
    """Return a detector of the training images' classes: with ``head=keep`` the loaded one, else one of its body."""
    if recipe.head == "keep":
        if not isinstance(loaded.network, models.Detector):
            why = f"keeps the head of a detector, and {recipe.init} finds no boxes: add head=new."
            raise UserError(why, option="head", value="keep")
        return replace(keep_head(recipe, loaded, train), res=recipe.res or loaded.res)
    torch.manual_seed(random.derive_seed(recipe.seed, "weights"))
    loaded = models.make_detector(loaded, recipe.detect.model, len(train.classes), recipe.res)
    for line in loaded.report.lines() if loaded.report else ():
        run.log(f"  {line}")
    return loaded
