"""``vitrun fewshot``: a linear classifier on frozen features, closed-form on a few images a class or trained on all."""

import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from vitrun import data, models, recipes
from vitrun.engine import weights
from vitrun.engine.inputs import open_parts
from vitrun.errors import UserError
from vitrun.probes import logistic, ridge
from vitrun.probes.feature_cache import extract_features, extract_layer_features
from vitrun.recipes import ViT
from vitrun.runs.run import Run
from vitrun.runtime.device import Machine

MAX_FEATURE_BYTES = 2**30  # bytes of features of the training images: as many layers as they hold are read in one go


def execute(recipe: recipes.Fewshot, run: Run) -> dict[str, Any]:
    """Test accuracy of the probe, and how many test images were used."""
    machine = Machine(recipe.device, recipe.precision)
    weights.check_init(recipe.init, recipe.res)
    train, test = open_parts(recipe.data, ("train", "test"), run, recipe.bad_images == "skip")
    if train.labels.ndim > 1 or test.labels.ndim > 1:
        raise UserError(f"data={recipe.data.name} has images of several labels; fewshot knows one label an image.")
    loaded = weights.load_init(recipe.init, recipe.runs, 0, run.log, res=recipe.res)
    layers = choose_layers(recipe, loaded)
    if run.dry:
        return {"train_images": len(train), "test_images": len(test)}
    if recipe.probe == "ridge":
        found = run_few_shot(recipe, run, machine, loaded, train, test)
    else:
        found = run_linear_probe(
            recipe, run, iterate_features(recipe, run, machine, loaded, train, test, layers), train.classes
        )
    return {
        **found,
        "train_skipped": train.skipped,
        "images_used": len(test),
        "images_expected": len(test) + test.skipped,
    }


def run_few_shot(
    recipe: recipes.Fewshot, run: Run, machine: Machine, loaded: models.LoadedModel, train: data.Split, test: data.Split
) -> dict[str, Any]:
    """Accuracy at each number of shots: mean, deviation and 95 % interval over the seeds; and ``drawn.json``."""
    both = [
        ridge.Features(*extract_features(recipe, run, machine, loaded, recipe.data, part, split), len(train.classes))
        for part, split in (("train", train), ("test", test))
    ]
    draws = ridge.evaluate_few_shot(*both, recipe.shots, recipe.seeds, recipe.l2)
    drawn = {f"seed {one.seed}, {one.shots} shots": [train.keys[i] for i in one.rows.tolist()] for one in draws}
    run.write_file("drawn.json", lambda path: path.write_text(json.dumps(drawn), encoding="utf-8"))
    found = ridge.summarize_draws(draws, chosen=len(recipe.l2) > 1)
    most = int(torch.bincount(both[0].y).max())  # images of a class
    for shots in recipe.shots:
        note = f" (all images each time: no class has more than {most})" if shots >= most else ""
        many = f"{shots} shot{'s' * (shots > 1)}"
        times = f"{len(recipe.seeds)} draw{'s' * (len(recipe.seeds) > 1)}"
        run.log(f"{many}: {ridge.format_accuracy(f'shot{shots}', found)} % over {times}{note}")
    return found


def run_linear_probe(
    recipe: recipes.Fewshot, run: Run, features: Iterator[tuple[str, list[Tensor]]], classes: tuple[str, ...]
) -> dict[str, Any]:
    """Accuracy for each layer and the l2 that it took; of several the best by the held-out tenth, never by the test."""
    run.log("linear probe on all training images: shots, seeds and l2 are not used")
    found = {}
    for name, tensors in features:
        run.raise_if_interrupted()
        one = found[name] = logistic.evaluate_linear_probe(*tensors, len(classes), recipe.linear.l2)
        note = "" if one.converged else f"; not converged in {logistic.MAX_ITERATIONS} iterations"
        run.log(f"{name}: {one.accuracy:.2%} (l2 {one.l2:g}, held out {one.held_out:.2%}{note})")
    result: dict[str, Any] = {name: one.accuracy for name, one in found.items()}
    result |= {f"{name}_l2": one.l2 for name, one in found.items()}
    if len(found) > 1:
        result["best_layer"] = max(found, key=lambda name: found[name].held_out)
    return result | {"converged": f"{sum(one.converged for one in found.values())} of {len(found)}"}


def iterate_features(
    recipe: recipes.Fewshot,
    run: Run,
    machine: Machine,
    loaded: models.LoadedModel,
    train: data.Split,
    test: data.Split,
    layers: list[int],
) -> Iterator[tuple[str, list[Tensor]]]:
    """For what the head reads, or each layer: its name, features and labels of training, then of test images.

    As many layers as 1 GiB holds are read in one pass over the images, so that memory does not grow with their number.
    """
    parts = (("train", train), ("test", test))
    if not layers:
        found = [extract_features(recipe, run, machine, loaded, recipe.data, *part) for part in parts]
        yield "last", [tensor.to(machine.device) for tensors in found for tensor in tensors]
    group = max(1, MAX_FEATURE_BYTES // (4 * len(train) * loaded.network.head.in_features))
    for first in range(0, len(layers), group):
        some = layers[first : first + group]
        (x, y), (x_test, y_test) = (extract_layer_features(recipe, run, machine, loaded, *part, some) for part in parts)
        for layer in some:
            yield f"layer{layer}", [tensor.to(machine.device) for tensor in (x[layer], y, x_test[layer], y_test)]


def choose_layers(recipe: recipes.Fewshot, loaded: models.LoadedModel) -> list[int]:
    """The numbers of the layers asked for, 0 that of the embedded patches; none for what the head reads."""
    if recipe.layers == ("last",):
        return []
    shown = ",".join(map(str, recipe.layers))
    if not isinstance(loaded.model, ViT):
        raise UserError(
            f"layers={shown}: {loaded.model.name} is none of vitrun's own vision transformers, and of others only what "
            "the head reads is known. Use layers=last."
        )
    if recipe.linear.pooling == "token" and not loaded.network.prefix:
        raise UserError(f"linear.pooling=token: {loaded.model.name} has no class token. Use linear.pooling=mean.")
    depth = loaded.model.depth
    if recipe.layers == ("all",):
        return list(range(depth + 1))
    if max(recipe.layers) > depth:
        raise UserError(f"layers={shown}: {loaded.model.name} has layers 0 to {depth}.")
    return list(dict.fromkeys(recipe.layers))
