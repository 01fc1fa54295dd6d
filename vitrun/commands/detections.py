"""Evaluation of a detector: COCO's metrics, and files of its detections."""

from dataclasses import replace
from typing import Any

import numpy as np

from vitrun import data, models, recipes
from vitrun.commands.class_matching import can_match_names, check_number
from vitrun.data.sources.messages import abbreviate, count_classes
from vitrun.engine.coco_metrics import load_pycocotools
from vitrun.engine.detection import find_boxes
from vitrun.engine.detection_files import write_detections
from vitrun.engine.inputs import make_eval_batches, make_rectangle_batches
from vitrun.errors import ExitCode, UserError
from vitrun.runs.run import Run
from vitrun.runtime.device import Machine

WHOLE = ("square", "squash")  # resizes whose view is the whole image


def evaluate_detector(recipe: recipes.Eval, loaded: models.LoadedModel, test: data.Split, run: Run) -> dict[str, Any]:
    """Return COCO's metrics of a detector, and write its detections; do nothing in a dry run."""
    check_evaluation(recipe, test)
    check_shows_whole(recipe.view, loaded.model)
    classes = match_box_classes(recipe, loaded, test)
    if run.dry:
        return {}
    machine = Machine(recipe.device, recipe.precision)
    make_batches = make_rectangle_batches if recipe.view.resize in recipes.RECTANGLES else make_eval_batches
    batches = make_batches(test, loaded.res, recipe.view, recipe.batch, machine)
    with run.screen.progress(run.command, len(test), 0) as bar:
        network, tick = loaded.network.to(machine.device), run.progress_callback(bar)
        detections = find_boxes(network, batches, machine, tick)
    detections = replace(detections, labels=classes[detections.labels])
    write_detections(run, test, detections, test.classes)
    return detections.summarize()


def check_evaluation(recipe: recipes.Eval, test: data.Split) -> None:
    """Raise UserError if images have no boxes, or an option is not for detectors."""
    if test.boxes is None:
        why = f"finds objects, and data={recipe.data.name} has no boxes: choose data=coco, or weights of a classifier."
        raise UserError(why, option="init", value=recipe.init)
    if recipe.dedup:
        raise UserError("is for labels: leave it out for a detector.", option="dedup", value=recipe.dedup)
    load_pycocotools()


def check_shows_whole(view: recipes.View, model: recipes.Model) -> None:
    """Raise UserError if a view leaves out parts of an image, whose objects would be missed."""
    multiple = recipes.RECTANGLES.get(view.resize)
    if multiple and isinstance(model, recipes.Detector) and multiple % model.stride:
        other = "rectangle_16 or square" if model.stride <= 16 and 16 % model.stride == 0 else "square"
        why = f"has sides that are not multiples of {model.stride} pixels, the patches of {model.name}: take {other}."
        raise UserError(why, option="view.resize", value=view.resize)
    if view.resize not in (*WHOLE, *recipes.RECTANGLES) or view.crop < 1:
        why = f"leaves out parts of images and their objects: take {' or '.join(WHOLE)}, with view.crop=1."
        raise UserError(why, option="view.resize", value=f"{view.resize}, view.crop={view.crop:g}")


def match_box_classes(recipe: recipes.Eval, loaded: models.LoadedModel, test: data.Split) -> np.ndarray:
    """Return the test set's class for each of the network's C classes, -1 for none: [C].

    Classes are matched by name. Without names they are matched by the ids of categories if the network has a class for
    each id, as published detectors of COCO, else by order. Raise UserError if the network lacks a class.
    """
    assert test.boxes is not None
    ids, number = test.boxes.category_ids, len(test.classes)
    if recipe.match != "order" and can_match_names(loaded.names, test):
        positions = data.find_classes(loaded.names, test.classes)
    elif recipe.match != "order" and ids.dtype.kind == "i" and ids.min() >= 0 and loaded.classes == ids.max() + 1:
        positions = ids
    else:
        check_number(recipe, loaded, test)
        positions = np.arange(number)
    if unknown := [name for name, position in zip(test.classes, positions) if position < 0]:
        raise UserError(
            f"{recipe.data.name} has {count_classes(len(unknown))} that {recipe.init} was not trained to find: "
            f"{abbreviate(unknown, 3)}. It has {loaded.classes:,}: {abbreviate(loaded.names, 3)}. Fine-tune it first.",
            ExitCode.DATA,
            "match",
            recipe.match,
        )
    classes = np.full(loaded.classes, -1, np.int64)
    classes[positions] = np.arange(number)
    return classes
