"""``vitrun eval``: count how often a model's answers on a test set are correct."""

from typing import Any

import numpy as np

from vitrun import data, models, recipes
from vitrun.commands import zero_shot
from vitrun.commands.class_matching import match_classes
from vitrun.commands.detections import evaluate_detector
from vitrun.engine import weights
from vitrun.engine.inference import Predictions, predict
from vitrun.engine.inputs import make_eval_batches, open_parts
from vitrun.engine.trained_on import check_not_trained_on
from vitrun.engine.zero_shot import mean_per_class
from vitrun.errors import ExitCode, UserError
from vitrun.objectives.labels import LOSSES, PROBABILITIES, check_loss
from vitrun.recipes import trees
from vitrun.runs import exclude, weights_view
from vitrun.runs.classification import calibrate_table
from vitrun.runs.lookup import load_saved_recipe
from vitrun.runs.metrics import Metric
from vitrun.runs.predictions import PREDICTIONS_FILE, PredictionTable
from vitrun.runs.run import Run
from vitrun.runtime.device import Machine


def execute(recipe: recipes.Eval, run: Run) -> dict[str, Any]:
    """Return top-1, top-5, loss and ECE over every image of the test part; write each prediction to ``preds.parquet``.

    A CLIP classifies by prompts; if images have captions, the recall of retrieval is returned too. A
    detector has COCO's metrics.
    """
    weights.check_init(recipe.init, recipe.res)
    (test,) = open_parts(recipe.data, ("test",), run, recipe.bad_images == "skip")
    check_not_trained_on(recipe, test, run.warn)
    duplicates = find_duplicates(recipe, recipe.dedup, test) if recipe.dedup else None
    loaded = weights.load_for_run(recipe, run)
    is_clip, is_detector = (isinstance(loaded.network, kind) for kind in (models.Clip, models.Detector))
    (zero_shot.check_prompts_needed if is_clip else zero_shot.check_not_needed)(recipe, test)
    view = log_view(recipe, loaded.res, run)
    if is_detector:
        result = evaluate_detector(recipe, loaded, test, run)
    else:
        result = classify(recipe, loaded, test, duplicates, run) if test.classes else {}
    if is_clip and test.read_captions is not None:
        result |= zero_shot.retrieve(recipe, loaded, test, run)
    if run.dry:
        return {"test_images": len(test)}
    return {"images_used": len(test), "images_expected": len(test) + test.skipped} | result | {"view": view}


def classify(
    recipe: recipes.Eval, loaded: models.LoadedModel, test: data.Split, duplicates: set[str] | None, run: Run
) -> dict[str, Any]:
    """Return the metrics of classification, nothing in a dry run; write each prediction to ``preds.parquet``.

    With ``duplicates``, the keys of images, return also their number, and top-1 without them (as arXiv 1912.11370,
    appendix C).
    """
    machine, is_clip = Machine(recipe.device, recipe.precision), isinstance(loaded.network, models.Clip)
    network, test = (zero_shot.make_zero_shot if is_clip else match_classes)(recipe, loaded, test, run)
    made = load_saved_recipe(recipe.init, recipe.runs) or {}
    loss = "softmax" if is_clip else made.get("loss", "softmax")
    loaded.network.precise_head = made.get("command") == "fewshot"  # its probe was fitted and tested in float32
    check_loss(loss, test)
    if run.dry:
        return {}
    batches = make_eval_batches(test, loaded.res, recipe.view, recipe.batch, machine)
    with run.screen.progress(run.command, len(test), 0) as bar:
        network, tick = network.to(machine.device), run.progress_callback(bar)
        predictions = predict(network, batches, LOSSES[loss], machine, tick, PROBABILITIES[loss])
    table = predictions.to_table(test)
    run.write_file(PREDICTIONS_FILE, table.write)
    result = summarize(predictions, table)
    if is_clip and table.has_single_labels:
        right = table.top_classes[:, 0] == table.labels
        result["top1_per_class"] = Metric(mean_per_class(table.labels, right), "share")
    if duplicates is not None:
        result |= count_duplicates(predictions, table, np.array([key in duplicates for key in test.keys]))
    used = int((table.correct_labels >= 0).any(1).sum())
    return {**result, "images_used": used, "images_expected": len(test) + test.skipped}


def summarize(predictions: Predictions, table: PredictionTable) -> dict[str, Any]:
    """Return top-1 and top-5, the loss if there is one label set an image, and the ECE if there is one label."""
    correct = table.correct_labels
    result: dict[str, Any] = {f"top{k}": Metric(predictions.accuracy(k, correct), "share") for k in (1, 5)}
    if table.accepted is None:  # a loss against one of several correct labels would mean nothing
        result["loss"] = Metric(float(predictions.losses.mean(dtype=float)), lower_is_better=True)
    if table.has_single_labels:
        result["ece"] = Metric(calibrate_table(table).ece, "share", lower_is_better=True)
    return result


def count_duplicates(predictions: Predictions, table: PredictionTable, duplicates: np.ndarray) -> dict[str, Any]:
    """Return top-1 without the test images that are ``duplicates`` [N], and their number."""
    is_duplicate = duplicates[predictions.indices]
    correct = np.where(is_duplicate[:, None], -1, table.correct_labels)
    return {"top1_dedup": Metric(predictions.accuracy(1, correct), "share"), "dups": int(is_duplicate.sum())}


def log_view(recipe: recipes.Eval | recipes.Visualize | recipes.Generate, res: int, run: Run) -> dict[str, Any]:
    """Log how test images are shown and who says so; return the view, and its ``source``: a key of the result."""
    view = trees.to_plain_tree(recipe.view)
    try:
        own = weights_view.find_weights_view(recipe.init, recipe.runs, recipe.res)
    except UserError:  # a view that vitrun lacks, for which the overrides give another
        own = weights_view.WeightsView("the weights", {"resize": None})
    changed = [option for option, value in own.options.items() if view[option] != value]
    source = "overrides" if changed else "weights" if own.source else "assumed"
    reasons = {
        "overrides": f"view.{' and view.'.join(changed)} chosen otherwise than by {own.source}",
        "weights": f"of {own.source}",
        "assumed": "assumed: the weights do not say",
    }
    run.log(f"view: {weights_view.describe_view(view)} at {res} px ({reasons[source]})")
    return {**view, "res": res, "source": source}


def find_duplicates(recipe: recipes.Eval, dedup: str, test: data.Split) -> set[str]:
    """Return the keys of test images that the dedup run found in a training set; raise UserError if none are left."""
    keys = exclude.load_duplicate_keys(dedup, recipe.runs, test.identity)
    duplicates = np.array([key in keys for key in test.keys])
    if not (test.correct_labels[~duplicates] >= 0).any():
        raise UserError("Every test image is a duplicate, which leaves none.", ExitCode.DATA, "dedup", dedup)
    return keys
