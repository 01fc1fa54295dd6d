"""``vitrun pretrain``: train a model from scratch."""

from collections.abc import Mapping
from typing import Any

import torch

from vitrun import data, models, recipes
from vitrun.commands.rounds import train_rounds
from vitrun.commands.run_plan import plan_run
from vitrun.commands.teacher import add_teacher
from vitrun.config.probe_recipes import resolve_probe_recipes
from vitrun.engine.inputs import open_training_data
from vitrun.engine.long_texts import describe_cut_captions
from vitrun.engine.rehearsal import rehearse
from vitrun.engine.trainer import Trainer
from vitrun.engine.zero_shot import describe_texts, name_classes
from vitrun.objectives import build_objective
from vitrun.objectives.class_weights import weigh_classes
from vitrun.objectives.contrastive import ContrastiveObjective
from vitrun.probes.online_probe import OnlineProbe
from vitrun.recipes import DEFAULT_RES
from vitrun.recipes.prompts import find_prompts
from vitrun.runs.run import Run
from vitrun.runtime import distributed, random
from vitrun.runtime.device import Machine


def execute(recipe: recipes.Pretrain, run: Run) -> dict[str, Any]:
    """Pretrain once, or in rounds; return the metrics, or the cost if it is a dry run."""
    return train_rounds(recipe, run, pretrain_once) if recipe.rounds > 1 else pretrain_once(recipe, run)


def pretrain_once(recipe: recipes.Pretrain, run: Run) -> dict[str, Any]:
    """Train ``recipe.model`` on ``recipe.data``; return the metrics, or the cost if it is a dry run."""
    res = recipe.res or DEFAULT_RES
    models.check_model(recipe.model, res)
    objective = build_objective(recipe)
    if recipe.on is not None:
        return plan_run(recipe, objective, recipe.model, run)
    machine = Machine(recipe.device, recipe.precision)
    train, test, _ = images = open_training_data(recipe, run, recipe.exclude)
    if isinstance(recipe.objective, recipes.Contrastive):
        train, test = (caption_classes(recipe, recipe.objective.prompts, split, run) for split in (train, test))
    objective.check_data(train, test)
    if isinstance(objective, ContrastiveObjective) and not distributed.rank():
        log_cut_captions(objective, {"training": train, "test": test}, run)
    objective = weigh_classes(objective, recipe, train, run.log)
    probes = resolve_probe_recipes(recipe)
    every = recipe.fewshot.every
    online = () if every is None else (OnlineProbe(probes, every, res, run, machine),)
    torch.manual_seed(random.derive_seed(recipe.seed, "weights"))
    loaded = objective.build_model(recipe.model, train, res)
    objective, pseudo, cost = add_teacher(recipe, objective, images, run, machine)
    trainer = Trainer(recipe, loaded, objective, train, test, run, machine, online, pseudo=pseudo)
    return rehearse(trainer) | cost if run.dry else trainer.train()


def log_cut_captions(objective: ContrastiveObjective, splits: Mapping[str, data.Split], run: Run) -> None:
    """Log how many captions of each part are longer than the text tower can read, with an example."""
    for part, split in splits.items():
        if cut := describe_cut_captions(objective.tokenizer, split, part):
            run.log(f"captions: {cut}")


def caption_classes(recipe: recipes.Pretrain, source: str, split: data.Split, run: Run) -> data.Split:
    """Return the split with captions: its own or, if it has only labels, the names of its classes in templates.

    ``source`` is ``objective.prompts``. Log which names and templates are used.
    """
    if not split.classes or split.read_captions is not None and source == recipes.AUTO:
        return split
    prompts = find_prompts(source, recipe.data)
    names, how = name_classes(split.classes, prompts)
    run.log(f"captions of classes: {describe_texts(names, prompts, how)}")
    return data.caption_by_class(split, [own[0] for own in names], prompts.templates)
