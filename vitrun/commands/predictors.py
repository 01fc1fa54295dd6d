"""Networks that predict the classes of images, or find the objects in them, for ``vitrun predict``."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from vitrun import data, models, recipes
from vitrun.commands.class_matching import check_head
from vitrun.commands.detections import check_shows_whole
from vitrun.commands.prediction_rows import Columns, FoundObjects, Prediction, Row
from vitrun.commands.zero_shot import check_no_prompts, make_classifier
from vitrun.data.sources.imagenet import name_in_words, read_synsets
from vitrun.engine import weights
from vitrun.engine.detection import detect
from vitrun.errors import UserError
from vitrun.objectives.labels import PROBABILITIES
from vitrun.recipes import trees
from vitrun.runs.lookup import load_saved_recipe
from vitrun.runs.weights_view import describe_view
from vitrun.runtime.console import Screen


class Predictor(NamedTuple):
    """A network, and how its outputs become predictions of classes or objects."""

    network: nn.Module
    names: tuple[str, ...]  # of the classes
    compute: Callable[..., tuple[Tensor, ...]]  # images and other tensors of a micro-batch -> outputs, B rows each
    describe: Callable[..., Row]  # name of an image and its outputs -> row
    columns: Columns
    res: int
    fast_jpeg: bool


def load_predictor(recipe: recipes.Predict, screen: Screen) -> Predictor:
    """Return the network of ``init`` with the names of its classes; raise UserError if it has no head."""
    if recipe.init.startswith("random:"):
        raise UserError("names untrained weights, which classify nothing.", option="init", value=recipe.init)
    weights.check_init(recipe.init, recipe.res)
    source = weights.WeightsSource(recipe.init, recipe.runs, recipe.init_weights)
    loaded = weights.load_init(source, screen.log, res=recipe.res)
    check_predicts(recipe, loaded)
    screen.log(f"view: {describe_view(trees.to_plain_tree(recipe.view))} at {loaded.res} px")
    if isinstance(loaded.network, models.Clip):
        network, names = make_classifier(recipe, loaded.network, screen)
        return make_class_predictor(recipe, network, names, PROBABILITIES["softmax"], loaded.res)
    if isinstance(loaded.network, models.Detector):
        return make_object_predictor(recipe, loaded, screen)
    made = load_saved_recipe(recipe.init, recipe.runs) or {}
    loaded.network.precise_head = made.get("command") == "fewshot"  # its probe was fitted in float32
    loss = made.get("loss", "softmax")
    if loss == "sigmoid":
        screen.log("probabilities: of each class by itself, as the weights were trained with loss=sigmoid")
    fast_jpeg = (made.get("data") or {}).get("jpeg") == "fast"
    names = name_classes(loaded, screen)
    return make_class_predictor(recipe, loaded.network, names, PROBABILITIES[loss], loaded.res, fast_jpeg)


def check_predicts(recipe: recipes.Predict, loaded: models.LoadedModel) -> None:
    """Raise UserError if a network has no head, or if options do not belong to it."""
    if isinstance(loaded.network, models.Clip):
        return
    check_no_prompts(recipe.prompts, recipe.init)
    if isinstance(loaded.network, models.Detector):
        check_shows_whole(recipe.view, loaded.model)
    else:
        check_head(recipe.init, loaded)


def make_class_predictor(
    recipe: recipes.Predict,
    network: nn.Module,
    names: tuple[str, ...],
    to_probabilities: Callable[[Tensor], Tensor],
    res: int,
    fast_jpeg: bool = False,
) -> Predictor:
    """Return the predictor of the likeliest of the classes ``names`` by logits [B, C] of a network."""
    top = min(recipe.top, len(names))

    def compute(images: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
        likeliest = to_probabilities(network(images).float()).topk(top)
        return likeliest.indices, likeliest.values

    def describe(name: str, classes: np.ndarray, shares: np.ndarray) -> Row:
        return Prediction(name, tuple(names[number] for number in classes.tolist()), tuple(shares.tolist()))

    return Predictor(network, names, compute, describe, Columns(top), res, fast_jpeg)


def make_object_predictor(recipe: recipes.Predict, loaded: models.LoadedModel, screen: Screen) -> Predictor:
    """Return the predictor of objects whose class has a probability of at least ``min_score``."""
    names, network = name_classes(loaded, screen), loaded.network

    def describe(name: str, scores: np.ndarray, labels: np.ndarray, corners: np.ndarray) -> Row:
        chosen = [row for row in np.argsort(-scores, kind="stable") if scores[row] >= recipe.min_score]
        boxes = np.round(np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1), 2)[chosen].tolist()
        classes = tuple(names[label] for label in labels[chosen].tolist())
        return FoundObjects(name, classes, tuple(scores[chosen].tolist()), tuple(map(tuple, boxes)))

    return Predictor(network, names, partial(detect, network), describe, Columns(None), loaded.res, False)


def name_classes(loaded: models.LoadedModel, screen: Screen) -> tuple[str, ...]:
    """Return the names of a network's classes, in words if they are WordNet ids, as numbers if they are unknown."""
    names = loaded.names
    if len(names) != loaded.classes or data.is_unnamed(names):
        names = tuple(map(str, range(loaded.classes)))
        if loaded.classes == data.IMAGENET_CLASSES:
            names = read_synsets()
            screen.warn(
                "class names: assumed to be ImageNet's, in its order: the weights have 1,000 classes and no names"
            )
        else:
            screen.warn("class names: the weights have none; classes are numbered from 0")
    return name_in_words(names)
