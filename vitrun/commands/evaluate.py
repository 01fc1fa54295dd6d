"""``vitrun eval``: count how often a model's answers on a test set are correct."""

from pathlib import Path
from typing import Any

import numpy as np

from vitrun import data, recipes
from vitrun.commands.class_matching import match_classes
from vitrun.engine import weights
from vitrun.engine.inference import Predictions, predict
from vitrun.engine.inputs import make_eval_batches, open_parts
from vitrun.errors import ExitCode, UserError
from vitrun.objectives.labels import LOSSES, check_loss
from vitrun.recipes import trees
from vitrun.runs import exclude, weights_view
from vitrun.runs.lookup import load_saved_recipe
from vitrun.runs.metrics import Metric
from vitrun.runs.run import Run
from vitrun.runtime.device import Machine


def execute(recipe: recipes.Eval, run: Run) -> dict[str, Any]:
    """Return top-1, top-5 and loss over every image of the test part; write each prediction to ``preds.parquet``.

    With ``dedup`` return also the number of duplicates, and top-1 without them (as arXiv 1912.11370, appendix C).
    """
    machine = Machine(recipe.device, recipe.precision)
    weights.check_init(recipe.init, recipe.res)
    (test,) = open_parts(recipe.data, ("test",), run, recipe.bad_images == "skip")
    keys = find_duplicates(recipe, recipe.dedup, test) if recipe.dedup else None
    loaded = weights.load_for_run(recipe, run)
    network, test = match_classes(recipe, loaded, test, run)
    duplicates = None if keys is None else np.array([key in keys for key in test.keys])
    made = load_saved_recipe(recipe.init, recipe.runs) or {}
    loss = made.get("loss", "softmax")
    loaded.network.precise_head = made.get("command") == "fewshot"  # its probe was fitted and tested in float32
    check_loss(loss, test)
    view = log_view(recipe, loaded.res, run)
    if run.dry:
        return {"test_images": len(test)}
    batches = make_eval_batches(test, loaded.res, recipe.view, recipe.batch, machine)
    with run.screen.progress(run.command, len(test), 0) as bar:
        predictions = predict(network.to(machine.device), batches, LOSSES[loss], machine, run.progress_callback(bar))
    run.write_file("preds.parquet", lambda path: write_predictions(path, predictions, test))
    correct = test.correct_labels[predictions.indices]
    result: dict[str, Any] = {f"top{k}": Metric(predictions.accuracy(k, correct), "share") for k in (1, 5)}
    if test.accepted is None:  # a loss against one of several correct labels would mean nothing
        result["loss"] = Metric(float(predictions.losses.mean()))
    if duplicates is not None:
        is_duplicate = duplicates[predictions.indices]
        correct_alone = np.where(is_duplicate[:, None], -1, correct)
        result["top1_dedup"] = Metric(predictions.accuracy(1, correct_alone), "share")
        result["dups"] = int(is_duplicate.sum())
    return {
        **result,
        "view": view,
        "images_used": int((correct >= 0).any(1).sum()),
        "images_expected": len(test) + test.skipped,
    }


def log_view(recipe: recipes.Eval | recipes.Visualize, res: int, run: Run) -> dict[str, Any]:
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


def write_predictions(path: Path, predictions: Predictions, test: data.Split) -> None:
    """Write a Parquet table of each image's id, labels, likeliest classes, and right labels if the set lists them."""
    import pyarrow
    import pyarrow.parquet

    labels = predictions.labels.tolist() if predictions.labels.ndim == 1 else strip_padding(predictions.labels)
    columns = {
        "id": [test.keys[i] for i in predictions.indices],
        "label": labels,
        "top5": predictions.top_classes.tolist(),
    }
    if test.accepted is not None:
        columns["right"] = strip_padding(test.correct_labels[predictions.indices])
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def strip_padding(labels: np.ndarray) -> list[list[int]]:
    """Return labels [N, K] as lists without their padding of -1."""
    return [[label for label in row if label >= 0] for row in labels.tolist()]
