"""Matching of a test set's classes with those of a model: by name, by order, or as some of ImageNet's."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from vitrun import data, models, recipes
from vitrun.data.sources.imagenet import name_by_synset, read_synsets
from vitrun.data.sources.messages import abbreviate, count_classes
from vitrun.errors import ExitCode, UserError
from vitrun.runs.run import Run


def match_classes(
    recipe: recipes.Eval, loaded: models.LoadedModel, test: data.Split, run: Run
) -> tuple[nn.Module, data.Split]:
    """Return the network that answers with the test set's labels, and the test images, labelled as it answers.

    Raise UserError if the network has no head (exit code 2) or if classes of the test set are none of its classes.
    """
    check_head(recipe.init, loaded, recipe.data.name)
    if test.imagenet_labels is not None and loaded.classes == data.IMAGENET_CLASSES:
        allowed = len(np.unique(test.imagenet_labels))
        run.log(f"predictions: the likeliest of {allowed} of the model's {loaded.classes:,} classes")
        positions = find_imagenet(recipe, loaded)
        return ClassSubset(loaded.network, positions[test.imagenet_labels]), test
    trained, here = name_by_synset(loaded.names), name_by_synset(test.classes)
    if trained == here:
        return loaded.network, test
    if recipe.match == "order" or not can_match_names(trained, test):
        check_number(recipe, loaded, test)
        if trained:
            run.warn(f"classes are matched by order: class 0 is {trained[0]} for {recipe.init}, and {here[0]} here")
        return loaded.network, test
    return loaded.network, match_names(recipe, trained, replace(test, classes=here), run)


def check_head(init: str, loaded: models.LoadedModel, name: str = "NAME") -> None:
    """Raise UserError (exit code 2) if the weights have no head, with the command that trains one on a data set."""
    if not loaded.classes:
        why = f"{init} was trained without labels and has no head: fine-tune it first"
        raise UserError(f"{why} (vitrun finetune data={name} init={init}).", ExitCode.COMMAND)


def find_imagenet(recipe: recipes.Eval, loaded: models.LoadedModel) -> np.ndarray:
    """Return the position in the model's head of each of ImageNet's classes: [1000].

    Raise UserError (exit code 3) if the head names other classes.
    """
    trained, synsets = name_by_synset(loaded.names), read_synsets()
    if recipe.match == "order" or not trained or data.is_unnamed(trained):
        return np.arange(len(synsets))
    positions = data.find_classes(trained, synsets)
    if (positions < 0).any():
        raise UserError(
            f"{recipe.data.name} needs ImageNet's 1,000 classes, but those of {recipe.init} have other names, or the "
            f"same in another order: {abbreviate(trained, 3)}. match=order assumes ImageNet's in its order.",
            ExitCode.DATA,
            "match",
            recipe.match,
        )
    return positions


def can_match_names(trained: tuple[str, ...], test: data.Split) -> bool:
    """Return whether both sides have names, or count their classes alike."""
    if not trained:
        return False
    if data.is_unnamed(test.classes) and not test.named:
        return data.is_unnamed(trained)
    return not data.is_unnamed(trained) or all(map(str.isdecimal, (*trained, *test.classes)))


def check_number(recipe: recipes.Eval, loaded: models.LoadedModel, test: data.Split) -> None:
    """Raise UserError (exit code 2) if the network's head has another number of classes than the test set."""
    if loaded.classes == len(test.classes):
        return
    of_imagenet = test.imagenet_labels is not None or len(test.classes) == data.IMAGENET_CLASSES
    choice = "imagenet" if of_imagenet else recipe.data.name
    raise UserError(
        f"{recipe.init} has a head of {count_classes(loaded.classes)}, but {recipe.data.name} has {len(test.classes)}: "
        f"fine-tune first (vitrun finetune data={choice}), or give the init of such a model.",
        ExitCode.COMMAND,
    )


def match_names(recipe: recipes.Eval, trained: tuple[str, ...], test: data.Split, run: Run) -> data.Split:
    """Return the test images labelled by the network's classes of the same names.

    Raise UserError (exit code 3) if it lacks a class, or with ``match=known`` if it lacks all.
    """
    positions = data.find_classes(trained, test.classes)
    unknown = [name for name, position in zip(test.classes, positions) if position < 0]
    if unknown and (recipe.match == "name" or len(unknown) == len(test.classes)):
        by_order = " match=order matches them by position." if len(trained) == len(test.classes) else ""
        known = " match=known leaves their images out." if len(unknown) < len(test.classes) else ""
        raise UserError(
            f"{recipe.data.name} has {count_classes(len(unknown))} that {recipe.init} was not trained on: "
            f"{abbreviate(unknown, 3)}. It has {len(trained):,}: {abbreviate(trained, 3)}. Classes are matched by "
            f"name.{known}{by_order}",
            ExitCode.DATA,
            "match",
            recipe.match,
        )
    if unknown:
        known_rows = np.flatnonzero(positions[test.labels.reshape(len(test), -1)[:, 0]] >= 0)
        run.warn(
            f"left out: {len(test) - len(known_rows):,} of {len(test):,} test images, of "
            f"{count_classes(len(unknown))} that the model was not trained on: {abbreviate(unknown)}"
        )
        test = replace(test.select(known_rows), skipped=test.skipped + len(test) - len(known_rows))
    run.log(f"classes: {len(test.classes) - len(unknown):,} of the model's {len(trained):,}, matched by name")
    return data.relabel(test, trained, positions)


class ClassSubset(nn.Module):
    """Network that maps each class [C] to the likeliest of the ImageNet labels [C, A] that stand for it."""

    def __init__(self, network: nn.Module, labels: np.ndarray):
        super().__init__()
        self.network = network
        self.register_buffer("labels", torch.from_numpy(labels), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits: [B, 3, R, R] -> [B, C]."""
        return self.network(images)[:, self.labels].amax(-1)  # [B, C, A] -> [B, C]
