"""Evaluation of a CLIP without training: its classifier of prompts, and retrieval between images and captions."""

from typing import Any

from torch import nn

from vitrun import data, models, recipes
from vitrun.engine.inputs import make_eval_batches
from vitrun.engine.retrieval import measure_retrieval
from vitrun.engine.zero_shot import ZeroShot, build_classifier, describe_texts, name_classes, write_texts
from vitrun.errors import ExitCode, UserError
from vitrun.recipes.prompts import find_prompts
from vitrun.runs.run import Run
from vitrun.runtime.device import Machine


def check_not_needed(recipe: recipes.Eval, test: data.Split) -> None:
    """Raise UserError (exit code 2) if weights without a text tower are to be tested on captions, or with prompts."""
    if not test.classes:
        raise UserError(
            f"{recipe.data.name} has captions and no labels, but {recipe.init} has no text tower: give the init of a "
            "CLIP, or a data set with classes.",
            ExitCode.COMMAND,
        )
    if recipe.prompts != recipes.AUTO:
        why = f"is for a CLIP, but {recipe.init} has no text tower: leave it out."
        raise UserError(why, ExitCode.COMMAND, "prompts", recipe.prompts)


def make_zero_shot(
    recipe: recipes.Eval, loaded: models.LoadedModel, test: data.Split, run: Run
) -> tuple[nn.Module, data.Split]:
    """Return the network that answers with the test set's labels by its prompts, and the test images as they are."""
    network, machine = loaded.network, Machine(recipe.device, recipe.precision)
    assert isinstance(network, models.Clip)
    prompts = find_prompts(recipe.prompts, recipe.data)
    names, how = name_classes(test.classes, prompts)
    run.log(describe_texts(names, prompts, how))
    if run.dry:
        return network, test
    texts = write_texts(names, prompts.templates)
    network.to(machine.device)
    with run.screen.progress("prompts", sum(map(len, texts)), 0) as bar:
        classifier = build_classifier(network, texts, machine, run.progress_callback(bar))
    return ZeroShot(network, classifier), test


def retrieve(recipe: recipes.Eval, loaded: models.LoadedModel, test: data.Split, run: Run) -> dict[str, Any]:
    """Return the recall of captions by images and of images by captions, for all test images; nothing if dry."""
    network, machine = loaded.network, Machine(recipe.device, recipe.precision)
    assert isinstance(network, models.Clip)
    if run.dry:
        return {}
    batches = make_eval_batches(test, loaded.res, recipe.view, recipe.batch, machine)
    with run.screen.progress("retrieval", len(test), 0) as bar:
        return measure_retrieval(network.to(machine.device), batches, machine, run.progress_callback(bar))
