"""Evaluation of a CLIP without training: its classifier of prompts, and retrieval between images and captions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from vitrun import data, models, recipes
from vitrun.engine.inputs import make_eval_batches
from vitrun.engine.long_texts import describe_cut_captions, describe_cut_texts
from vitrun.engine.retrieval import measure_retrieval
from vitrun.engine.zero_shot import (
    ZeroShot,
    build_classifier,
    describe_texts,
    name_classes,
    write_texts,
)
from vitrun.errors import ExitCode, UserError
from vitrun.recipes.prompts import Prompts, find_prompts
from vitrun.runs.run import Run
from vitrun.runtime.console import Screen
from vitrun.runtime.device import Machine


def check_prompts_needed(recipe: recipes.Eval, test: data.Split) -> None:
    """Raise UserError (exit code 2) if ``prompts`` are given for images that have captions and no classes."""
    if not test.classes and recipe.prompts != recipes.AUTO:
        why = f"is for classes, and {recipe.data.name} has captions alone: leave it out."
        raise UserError(why, ExitCode.COMMAND, "prompts", recipe.prompts)


def check_not_needed(recipe: recipes.Eval, test: data.Split) -> None:
    """Raise UserError (exit code 2) if weights without a text tower are to be tested on captions, or with prompts."""
    if not test.classes:
        raise UserError(
            f"{recipe.data.name} has captions and no labels, but {recipe.init} has no text tower: give the init of a "
            "CLIP, or a data set with classes.",
            ExitCode.COMMAND,
        )
    check_no_prompts(recipe.prompts, recipe.init)


def check_no_prompts(prompts: str, init: str) -> None:
    """Raise UserError (exit code 2) if ``prompts`` are given for weights without a text tower."""
    if prompts != recipes.AUTO:
        why = f"is for a CLIP, but {init} has no text tower: leave it out."
        raise UserError(why, ExitCode.COMMAND, "prompts", prompts)


def make_classifier(recipe: recipes.Predict, network: models.Clip, screen: Screen) -> tuple[ZeroShot, tuple[str, ...]]:
    """Return the network that answers with the classes of ``recipe.prompts``, and their names.

    Raise UserError (exit code 2) if these name no classes.
    """
    prompts = find_prompts(recipe.prompts)
    if prompts.names is None:
        way = "prompts='cat, dog', prompts=FILE with names, or a set of prompts as prompts=imagenet"
        why = f"names no classes, which {recipe.init} needs, as it was trained on captions: give {way}."
        raise UserError(why, ExitCode.COMMAND, "prompts", recipe.prompts)
    names = [*prompts.names.values()] if isinstance(prompts.names, Mapping) else [*prompts.names]
    texts = write_logged_texts(network, names, prompts, "as classes", screen.log)
    machine = Machine(recipe.device, recipe.precision)
    classifier = build_classifier(network.to(machine.device), texts, machine)
    return ZeroShot(network, classifier), tuple(own[0] for own in names)


def make_zero_shot(
    recipe: recipes.Eval, loaded: models.LoadedModel, test: data.Split, run: Run
) -> tuple[nn.Module, data.Split]:
    """Return the network that answers with the test set's labels by its prompts, and the test images as they are."""
    network, machine = loaded.network, Machine(recipe.device, recipe.precision)
    assert isinstance(network, models.Clip)
    prompts = find_prompts(recipe.prompts, recipe.data)
    names, how = name_classes(test.classes, prompts)
    texts = write_logged_texts(network, names, prompts, how, run.log)
    if run.dry:
        return network, test
    network.to(machine.device)
    with run.screen.progress("prompts", sum(map(len, texts)), 0) as bar:
        classifier = build_classifier(network, texts, machine, run.progress_callback(bar))
    return ZeroShot(network, classifier), test


def write_logged_texts(
    network: models.Clip, names: Sequence[Sequence[str]], prompts: Prompts, how: str, log: Callable[[str], None]
) -> list[list[str]]:
    """Return the texts about each class; log what they are made of, and how many of them are cut."""
    log(f"prompts: {describe_texts(names, prompts, how)}")
    texts = write_texts(names, prompts.templates)
    if cut := describe_cut_texts(models.build_tokenizer(network.row.text), texts):
        log(f"prompts: {cut}")
    return texts


def retrieve(recipe: recipes.Eval, loaded: models.LoadedModel, test: data.Split, run: Run) -> dict[str, Any]:
    """Return the recall of captions by images and of images by captions, for all test images; nothing if dry."""
    network, machine = loaded.network, Machine(recipe.device, recipe.precision)
    assert isinstance(network, models.Clip)
    if cut := describe_cut_captions(models.build_tokenizer(network.row.text), test, "test"):
        run.log(f"captions: {cut}")
    if run.dry:
        return {}
    batches = make_eval_batches(test, loaded.res, recipe.view, recipe.batch, machine)
    with run.screen.progress("retrieval", len(test), 0) as bar:
        return measure_retrieval(network.to(machine.device), batches, machine, run.progress_callback(bar))
