"""``vitrun fewshot``: a linear classifier on frozen features, closed-form on a few images a class or trained on all."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vitrun import data, models, recipes
from vitrun.commands.figure_files import save_figures
from vitrun.data.sources.messages import typed_option
from vitrun.data.split import PLACEHOLDER
from vitrun.engine import weights
from vitrun.engine.inputs import open_parts
from vitrun.engine.state import count_bytes
from vitrun.engine.trained_on import check_not_trained_on
from vitrun.errors import ExitCode, UserError
from vitrun.plots.points import Curve
from vitrun.plots.training import draw_layer_accuracy
from vitrun.probes import logistic, ridge
from vitrun.probes.draws import Draws, bound_drawn, draw_images
from vitrun.probes.feature_cache import FeatureExtractor
from vitrun.probes.feature_predictions import classify_features, tabulate_draws
from vitrun.recipes import IGpt, ViT
from vitrun.runs.checkpoint_writer import Save
from vitrun.runs.checkpoints import MODEL_FILE
from vitrun.runs.metrics import Metric
from vitrun.runs.predictions import PREDICTIONS_FILE
from vitrun.runs.run import Run
from vitrun.runtime.device import Machine

MAX_FEATURE_BYTES = 2**30  # of the training images' features: as many layers as fit are computed in one pass


def execute(recipe: recipes.Fewshot, run: Run) -> dict[str, Any]:
    """Return the test accuracy of the probe, and how many images were used."""
    machine = Machine(recipe.device, recipe.precision)
    weights.check_init(recipe.init, recipe.res)
    train, test = open_parts(recipe.data, ("train", "test"), run, recipe.bad_images == "skip")
    check_not_trained_on(recipe, test, run.warn)
    if train.labels.ndim > 1 or test.labels.ndim > 1:
        why = "has images with several labels; fewshot needs one label per image."
        raise UserError(why, ExitCode.COMMAND, *typed_option(recipe.data))
    loaded = weights.load_body_for_run(recipe, run)
    layers = choose_layers(recipe, loaded)
    extractor = FeatureExtractor(recipe, run, machine, loaded)
    has_labels = train.index_fingerprint != PLACEHOLDER
    draws = draw_shots(recipe, run, train) if recipe.probe == "ridge" and has_labels else None
    if run.dry:
        return plan_features(recipe, extractor, train, test, draws, layers)
    if draws:
        metrics = run_few_shot(recipe, extractor, train, test, draws)
    else:
        probes = fit_linear_probes(recipe, run, iterate_features(extractor, train, test, layers), test)
        metrics = summarize_probes(probes)
        if len(probes) > 1:
            draw_depth(run, probes)
        if "last" in probes:
            save_probe(run, loaded, probes["last"].head, train.classes)
    return {
        **metrics,
        "train_skipped": train.skipped,
        "images_used": len(test),
        "images_expected": len(test) + test.skipped,
    }


def draw_shots(recipe: recipes.Fewshot, run: Run, train: data.Split) -> Draws:
    """Return the draws of a recipe, and log from which images they are."""
    pool = data.find_draw_pool(recipe.data, train)
    run.log(pool.note)
    return draw_images(train.labels, pool.order, recipe.shots, recipe.seeds, recipe.l2)


def plan_features(
    recipe: recipes.Fewshot,
    extractor: FeatureExtractor,
    train: data.Split,
    test: data.Split,
    draws: Draws | None,
    layers: list[int],
) -> dict[str, Any]:
    """Return how many images there are and how many are to be embedded: those that are drawn, and not cached."""
    source = recipe.data
    groups = group_layers(extractor, len(train), layers)
    rows = draws.rows if draws else None
    numbers = {
        "training": sum(extractor.count_missing(source, "train", train, rows, group) for group in groups),
        "test": sum(extractor.count_missing(source, "test", test, None, group) for group in groups),
    }
    limit = ""
    if recipe.probe == "ridge" and draws is None:  # the labels are not there yet
        options = (recipe.shots, recipe.seeds, recipe.l2)
        numbers["training"], limit = bound_drawn(len(train), len(train.classes), *options), "at most "
    passes = f", in {len(groups)} passes" if len(groups) > 1 else ""
    extractor.run.log(
        f"to embed: {limit}{numbers['training']:,} of {len(train):,} training images and {numbers['test']:,} of "
        f"{len(test):,} test images{passes}"
    )
    return {"train_images": len(train), "test_images": len(test), "images_to_embed": sum(numbers.values())}


def run_few_shot(
    recipe: recipes.Fewshot, extractor: FeatureExtractor, train: data.Split, test: data.Split, draws: Draws
) -> dict[str, Any]:
    """Return the accuracy at each number of shots (mean, deviation, 95 % interval over the seeds).

    Write drawn.json, and the predictions of the draws with most images a class.
    """
    run, classes = extractor.run, len(train.classes)
    x = extractor.extract(recipe.data, "train", train, draws.rows)
    train_features = ridge.Features(x, train.targets(draws.rows), classes)
    x_test = extractor.extract(recipe.data, "test", test)
    test_features = ridge.Features(x_test, test.targets(np.arange(len(test))), classes)
    results = ridge.evaluate_few_shot(draws, train_features, test_features, recipe.l2)
    drawn = {
        f"seed {draw.seed}, {draw.shots} shots": [train.keys[row] for row in draw.rows.tolist()] for draw in draws.draws
    }
    run.write_file("drawn.json", lambda path: path.write_text(json.dumps(drawn), encoding="utf-8"))
    run.write_file(PREDICTIONS_FILE, tabulate_draws(results, test_features, test, train.classes).write)
    accuracies = ridge.summarize_draws(results)
    largest = draws.largest_class
    for shots in recipe.shots:
        note = f" (all images each time: no class has more than {largest})" if shots >= largest else ""
        name = f"{shots} shot{'s' * (shots > 1)}"
        number = f"{len(recipe.seeds)} draw{'s' * (len(recipe.seeds) > 1)}"
        run.log(f"{name}: {ridge.format_accuracy(accuracies[shots])} % over {number}{note}")
    result: dict[str, Any] = {f"shot{shots}": accuracy for shots, accuracy in accuracies.items()}
    return result | ({"l2": ridge.list_chosen_l2(results)} if len(recipe.l2) > 1 else {})


def fit_linear_probes(
    recipe: recipes.Fewshot, run: Run, features: Iterator[tuple[str, list[Tensor]]], test: data.Split
) -> dict[str, logistic.LinearProbeResult]:
    """Return the linear probe of each layer; log its accuracy; write the predictions of that of the head's input."""
    run.log("linear probe on all training images: shots, seeds and l2 are not used")
    results, classes = {}, len(test.classes)
    for name, (x, y, x_test, y_test) in features:
        run.raise_if_interrupted()
        probe = results[name] = logistic.evaluate_linear_probe(x, y, x_test, y_test, classes, recipe.linear.l2)
        note = "" if probe.converged else f"; not converged in {logistic.MAX_ITERATIONS} iterations"
        run.log(f"{name}: {probe.accuracy:.2%} (l2 {probe.l2:g}, held out {probe.held_out:.2%}{note})")
        if name == "last":
            predictions = classify_features(probe.head, x_test, y_test)
            run.write_file(PREDICTIONS_FILE, predictions.to_table(test).write)
    return results


def summarize_probes(results: dict[str, logistic.LinearProbeResult]) -> dict[str, Any]:
    """Return the accuracy and l2 of each layer, and of several the best by the held-out tenth, not by the test."""
    result: dict[str, Any] = {name: Metric(probe.accuracy, "share") for name, probe in results.items()}
    result["l2"] = {name: probe.l2 for name, probe in results.items()}
    if len(results) > 1:
        best = max(results, key=lambda name: results[name].held_out)
        result |= {"best_layer": best, "best": Metric(results[best].accuracy, "share")}
    converged = sum(probe.converged for probe in results.values())
    return result | {"converged": f"{converged} of {len(results)}"}


def draw_depth(run: Run, probes: dict[str, logistic.LinearProbeResult]) -> None:
    """Write the accuracy of each layer's probe as a figure into the run, and log the best layer."""
    layers = [int(name.removeprefix("layer")) for name in probes]
    held_out, accuracy = ([100 * getattr(p, part) for p in probes.values()] for part in ("held_out", "accuracy"))
    chart = draw_layer_accuracy([Curve("test", layers, accuracy), Curve("held out", layers, held_out)])
    save_figures([chart], run)
    run.log(f"best layer: {layers[int(np.argmax(held_out))]} of {max(layers)}, by the held-out images")


def save_probe(run: Run, loaded: models.LoadedModel, head: nn.Linear, names: tuple[str, ...]) -> None:
    """Save the network with the probe as its head in the run, so that ``init`` can name it."""
    network = loaded.network
    network.head = head
    size = count_bytes(network.state_dict().values())

    def write(folder: Path) -> dict[str, str]:
        description = models.describe_weights(loaded.model, len(names), loaded.res, names)
        return {MODEL_FILE: models.write_safetensors(folder / MODEL_FILE, network.state_dict(), description)}

    if run.save_checkpoint(Save(0, write, size, {"torch": torch.__version__}, final=True)):
        run.log(f"weights with the probe as head: init={run.name}, for vitrun eval and vitrun export")


def iterate_features(
    extractor: FeatureExtractor, train: data.Split, test: data.Split, layers: list[int]
) -> Iterator[tuple[str, list[Tensor]]]:
    """Yield a name, and features and labels of training, then of test images, for the head's input or each layer.

    As many layers as fit into 1 GiB are computed in one pass over the images, so that memory does not grow with their
    number.
    """
    source, device = extractor.recipe.data, extractor.machine.device
    parts = ((source, "train", train), (source, "test", test))
    y, y_test = (split.targets(np.arange(len(split))).to(device) for _, _, split in parts)
    for group in group_layers(extractor, len(train), layers):
        if not group:
            x, x_test = (extractor.extract(*part).to(device) for part in parts)
            yield "last", [x, y, x_test, y_test]
            continue
        by_layer, by_layer_test = (extractor.extract_layers(*part, group) for part in parts)
        for layer in group:
            yield f"layer{layer}", [by_layer[layer].to(device), y, by_layer_test[layer].to(device), y_test]


def group_layers(extractor: FeatureExtractor, images: int, layers: list[int]) -> list[list[int]]:
    """Return the layers to compute in each pass over that many training ``images``; [] for the input of the head."""
    if not layers:
        return [[]]
    size = max(1, MAX_FEATURE_BYTES // (4 * images * extractor.loaded.network.head.in_features))
    return [layers[first : first + size] for first in range(0, len(layers), size)]


def choose_layers(recipe: recipes.Fewshot, loaded: models.LoadedModel) -> list[int]:
    """Return the numbers of the recipe's layers, 0 for the embedded patches; [] for the input of the head.

    Raise UserError if the model does not have them.
    """
    if recipe.layers == ("last",):
        return []
    layers = ",".join(map(str, recipe.layers))
    if not isinstance(loaded.model, ViT | IGpt):
        raise UserError(
            f"{loaded.model.name} is not one of vitrun's own transformers, and for others only the input of the "
            "head is available. Use layers=last.",
            option="layers",
            value=layers,
        )
    if recipe.linear.pooling == "token" and not loaded.network.prefix:
        why = f"{loaded.model.name} has no class token. Use linear.pooling=mean."
        raise UserError(why, option="linear.pooling", value="token")
    depth = loaded.model.depth
    if recipe.layers == ("all",):
        return list(range(depth + 1))
    numbers = [layer for layer in recipe.layers if isinstance(layer, int)]
    if max(numbers) > depth:
        raise UserError(f"{loaded.model.name} has layers 0 to {depth}.", option="layers", value=layers)
    return list(dict.fromkeys(numbers))
