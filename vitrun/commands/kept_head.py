"""Fine-tuning with the head of the weights, for data sets of the same classes."""

from dataclasses import replace

import numpy as np
import torch

from vitrun import data, models, recipes
from vitrun.data.sources.imagenet import name_by_synset
from vitrun.data.sources.messages import abbreviate, count_classes
from vitrun.errors import ExitCode, UserError


def keep_head(recipe: recipes.Finetune, loaded: models.LoadedModel, train: data.Split) -> models.LoadedModel:
    """Return the network with the rows of its head in the order of the training images' classes, matched by name.

    Weights without names have these classes in their order. Raise a UserError if the head has other classes, or if
    there is none.
    """
    if not loaded.classes or isinstance(loaded.network, models.Clip):
        raise UserError(f"needs weights with a head, and {recipe.init} has none: add head=new.", option="head")
    trained, here = name_by_synset(loaded.names), name_by_synset(train.classes)
    rows = data.find_classes(trained, here) if trained else np.arange(len(here))
    if loaded.classes != len(here) or (rows < 0).any():
        lacking = [name for name, row in zip(here, rows) if row < 0]
        names = f": it lacks {abbreviate(lacking, 3)}" if lacking else ""
        why = (
            f"needs the {count_classes(len(here))} of {recipe.data.name}, and the head of {recipe.init} has "
            f"{loaded.classes:,}{names}. Add head=new."
        )
        raise UserError(why, ExitCode.DATA, "head", recipe.head)
    head = loaded.network.head
    if isinstance(loaded.network, models.Detector):
        rows = np.append(rows, loaded.classes)  # "no object"
    with torch.no_grad():
        for tensor in (head.weight, head.bias):
            tensor.copy_(tensor[torch.from_numpy(rows)])
    return replace(loaded, names=train.classes)
