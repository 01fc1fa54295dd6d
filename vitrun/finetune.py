"""``vitrun finetune``: adapt pretrained weights to a data set."""

from typing import Any

from vitrun import recipe, training, weights
from vitrun.run import Run


def main(recipe: recipe.Finetune, run: Run) -> dict[str, Any]:
    """The result of fine-tuning the weights ``recipe.init`` on ``recipe.data``: a new zero head, the rest kept."""
    weights.check(recipe.init, recipe.res)
    train, test = training.open_data(recipe, run)
    loaded = weights.load(recipe.init, recipe.runs, recipe.seed, run.say, classes=len(train.classes), res=recipe.res)
    plan = training.Plan(loaded.network, loaded.model, loaded.res, train, test)
    return training.train(recipe, plan, run)
