"""Make recipes of a recipe: trials and final runs of a learning-rate search, tasks of a suite, rounds of students."""

from itertools import product
from typing import Any, TypeVar, cast

from vitrun.config import validate
from vitrun.recipes import Finetune, Pretrain, Suite, Vtab, tables, trees

Trained = TypeVar("Trained", Pretrain, Finetune)
GridPoint = tuple[float, float]  # of a grid: a learning rate and a weight decay


def expand_suite(recipe: Finetune) -> dict[str, Finetune]:
    """Return a recipe for each task of a suite: the suite's options with the data set of the task.

    Options of ``data`` that the suite sets take precedence over those of the task's file.
    """
    tree, suite = trees.to_plain_tree(recipe), cast(Suite, recipe.data)
    given = {
        key: value
        for key, value in tree["data"].items()
        if key not in ("source", "name", "tasks") and value is not None
    }
    own = {task: tables.read_row("data", f"{suite.name}/{task}") for task in suite.tasks}
    return {task: validate.freeze_recipe("finetune", {**tree, "data": {**row, **given}}) for task, row in own.items()}


def list_grid_points(recipe: Finetune) -> list[GridPoint]:
    """Return the points of the grid; none if no learning rates are given."""
    return list(product(recipe.grid, recipe.decays or (recipe.optim.weight_decay,)))


def count_runs(recipe: Finetune) -> int:
    """Return the number of training runs of a recipe: for each task one per point of the grid, and one per seed."""
    tasks = len(recipe.data.tasks) if isinstance(recipe.data, Suite) else 1
    return tasks * (len(list_grid_points(recipe)) + len(recipe.seeds or (recipe.seed,)))


def expand_search(recipe: Finetune) -> list[Finetune]:
    """Return the trials of a search, then a final run for each seed at the first point, in place of the best."""
    first, *_ = list_grid_points(recipe) or [(recipe.optim.lr, recipe.optim.weight_decay)]
    finals = [make_final_run(recipe, first, seed) for seed in recipe.seeds or (recipe.seed,)]
    return [make_trial(recipe, point) for point in list_grid_points(recipe)] + finals


def make_round(command: str, recipe: Trained, teacher: str) -> Trained:
    """Return the run of one round of Noisy Student, with its teacher."""
    tree = trees.to_plain_tree(recipe)
    return cast(Trained, validate.freeze_recipe(command, {**tree, "teacher": teacher, "rounds": 1}))


def make_trial(recipe: Finetune, point: GridPoint) -> Finetune:
    """Return a run of the grid: it trains without the held-out images and is scored on them."""
    own = {"train": "train800", "test": "val200"} if isinstance(recipe.data, Vtab) else {}
    return make_single_run(recipe, point, data=trees.to_plain_tree(recipe.data) | own, score="dev")


def make_final_run(recipe: Finetune, point: GridPoint, seed: int) -> Finetune:
    """Return a final run: on all training images if a grid has chosen the point, else on all but those held out."""
    return make_single_run(recipe, point, seed=seed, dev=0.0 if recipe.grid else recipe.dev)


def make_single_run(recipe: Finetune, point: GridPoint, **options: Any) -> Finetune:
    """Return a single run of a search, at a point of the grid."""
    tree, (lr, decay) = trees.to_plain_tree(recipe), point
    optim = tree["optim"] | {"lr": lr, "weight_decay": decay}
    return validate.freeze_recipe(
        "finetune", {**tree, "optim": optim, "grid": [], "decays": [], "seeds": [], **options}
    )
