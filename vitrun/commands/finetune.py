"""``vitrun finetune``: adapt pretrained weights to a data set."""

from collections.abc import Callable
from typing import Any

from vitrun import data, models, recipes
from vitrun.commands import lr_search, vtab_suite
from vitrun.engine import trainer, weights
from vitrun.runs.run import Run


def execute(recipe: recipes.Finetune, run: Run) -> dict[str, Any]:
    """The result of fine-tuning once; by a grid and seeds; or on each task of a suite."""
    if recipe.data.source == "suite":
        return vtab_suite.run_suite(recipe, run, execute)
    if recipe.grid or recipe.seeds:
        return lr_search.search_learning_rate(recipe, run, finetune_once)
    return finetune_once(recipe, run)


def finetune_once(
    recipe: recipes.Finetune, run: Run, open_split: Callable[..., data.Split] = data.open_split
) -> dict[str, Any]:
    """The result of fine-tuning the weights ``recipe.init`` on ``recipe.data``: a new zero head, the rest kept."""
    weights.check_init(recipe.init, recipe.res)
    train, test = trainer.open_data(recipe, run, dev=recipe.dev, score=recipe.score, open_split=open_split)
    loaded = weights.load_init(
        recipe.init, recipe.runs, recipe.seed, run.log, classes=len(train.classes), res=recipe.res
    )
    loaded = models.with_dropout(loaded, recipe.dropout)
    plan = trainer.Plan(loaded.network, loaded.model, loaded.res, train, test)
    return trainer.train(recipe, plan, run)
