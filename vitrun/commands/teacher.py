"""Pseudo-labels of a training run: a teacher labels unlabelled images (Noisy Student, arXiv 1911.04252)."""

from typing import NamedTuple, cast

import numpy as np

from vitrun import data, models, recipes
from vitrun.commands.unlabelled_images import find_left_out, open_unlabelled
from vitrun.config import resolve
from vitrun.data.sources.imagenet import name_by_synset
from vitrun.data.sources.messages import abbreviate, count_classes, typed_option
from vitrun.engine import weights
from vitrun.engine.inputs import TrainingImages
from vitrun.engine.interfaces import Objective
from vitrun.engine.trained_on import check_teacher_not_trained_on
from vitrun.errors import ExitCode, UserError
from vitrun.objectives.labels import LabelObjective
from vitrun.objectives.pseudo import PseudoObjective
from vitrun.probes.teacher import Teacher
from vitrun.recipes import View, trees
from vitrun.runs.lookup import load_saved_recipe, weights_fingerprint
from vitrun.runs.run import Run
from vitrun.runs.weights_view import describe_view, find_weights_view
from vitrun.runtime.device import Machine

MOST_NAMED = 5  # classes whose highest probability an error names
MOST_ROWS = 10**9  # pseudo-labelled images of an epoch, of which a rank has 8 bytes each


class Taught(NamedTuple):
    """What a teacher adds to a run."""

    objective: Objective
    pseudo: data.PseudoLabels | None = None  # the unlabelled images with its answers
    cost: dict[str, float] = {}  # of a dry run: the number of images that are left to label, and the hours it takes


def add_teacher(
    recipe: recipes.Training, objective: Objective, images: TrainingImages, run: Run, machine: Machine
) -> Taught:
    """Return the objective with pseudo-labels and the images that have them; without a teacher the objective itself.

    A dry run labels nothing; it returns what labelling costs.
    """
    if recipe.teacher is None or recipe.unlabelled is None:
        return Taught(objective)
    options = recipe.pseudo
    check_teacher_not_trained_on(recipe, images.test, run.warn)
    teacher = load_teacher(recipe, run, machine)
    positions = match_teacher_classes(recipe, teacher.loaded, images.train)
    split = open_unlabelled(recipe.unlabelled, run)
    # the recipe has checked that the objective is that of labels
    labels = cast(LabelObjective, objective)
    objective = PseudoObjective.build(labels, options.labels == "soft", options.ratio, options.weight)
    if run.dry:
        return Taught(objective, None, estimate_cost(recipe, teacher, split, run))
    answers = teacher.label(recipe.unlabelled, split)
    confidences = answers["probabilities"].column(0).copy()
    check_readable(confidences, recipe, run)
    confidences[find_left_out(recipe, answers["hashes"], images, run)] = 0
    likeliest = positions[answers["classes"].column(0)]
    rows = select_pseudo_labels(recipe, likeliest, confidences, images.train.classes, run)
    return Taught(objective, data.PseudoLabels(split, rows, answers["classes"], answers["probabilities"], positions))


def load_teacher(recipe: recipes.Training, run: Run, machine: Machine) -> Teacher:
    """Return the teacher, and record its weights; raise UserError if it has no head."""
    name = recipe.teacher or ""
    weights.check_init(name)
    fingerprint = weights_fingerprint(name, recipe.runs, "teacher")
    view = find_weights_view(name, recipe.runs)
    no_head = UserError("has no head to label images with: fine-tune it first.", option="teacher", value=name)
    run.log(f"teacher: {name}")
    try:
        loaded = weights.load_teacher(name, run, view.res)
    except models.NoHead:
        raise no_head from None
    if not loaded.classes or isinstance(loaded.network, models.Clip):
        raise no_head
    weights.check_not_detector(loaded.model, name, "teacher")
    saved_recipe = load_saved_recipe(name, recipe.runs) or {}
    loaded.network.precise_head = saved_recipe.get("command") == "fewshot"  # its probe was fitted in float32
    run.update_about(teacher=name, teacher_weights=fingerprint)
    options = View(**(resolve.DEFAULT_VIEW | view.options))
    run.log(f"  it sees images as {describe_view(trees.to_plain_tree(options))} at {loaded.res} px")
    return Teacher(loaded, fingerprint, options, recipe.pseudo.temperature, run, machine)


def match_teacher_classes(recipe: recipes.Training, loaded: models.LoadedModel, train: data.Split) -> np.ndarray:
    """Return the number of each class of the teacher among the training images' classes, matched by name: [C].

    A teacher without names has these classes in their order. Raise UserError if its classes are not the same.
    """
    trained, here = name_by_synset(loaded.names), name_by_synset(train.classes)
    positions = data.find_classes(here, trained) if trained else np.arange(loaded.classes)
    if loaded.classes == len(here) and (positions >= 0).all():
        return positions
    unknown = [name for name, position in zip(trained, positions) if position < 0]
    lacking = [here[row] for row in np.setdiff1d(np.arange(len(here)), positions)] if trained else []
    sides = (("has", unknown), ("lacks", lacking))
    facts = ", ".join(f"it {verb} {abbreviate(names, 3)}" for verb, names in sides if names)
    why = (
        f"predicts {count_classes(loaded.classes)} that are not the {len(here):,} of {recipe.data.name}"
        f"{': ' * bool(facts)}{facts}. Fine-tune it on these, or give another teacher."
    )
    raise UserError(why, ExitCode.DATA, "teacher", recipe.teacher)


def estimate_cost(recipe: recipes.Training, teacher: Teacher, split: data.Split, run: Run) -> dict[str, float]:
    """Log and return how many images are left to label, and the hours that the teacher takes for them here.

    The speed is measured on blank images.
    """
    assert recipe.unlabelled is not None
    number = teacher.open_files(recipe.unlabelled, split).count_missing(len(split))
    macs = models.count_macs(teacher.loaded.model, teacher.loaded.classes, teacher.loaded.res)
    hours = number / teacher.measure_speed() / 3600 if number else 0.0
    size = teacher.bytes_an_image
    run.log(
        f"teacher: {number:,} of {len(split):,} images to label once, {2 * macs * number / 1e18:.2g} exaFLOP, "
        f"{hours:,.3g} hours if they can be read that fast; {size} bytes per image, {size * len(split) / 1e6:,.3g} MB"
    )
    return {"images_to_label": number, "labelling_hours": hours}


def check_readable(confidences: np.ndarray, recipe: recipes.Training, run: Run) -> None:
    """Warn of unlabelled images that cannot be read; raise UserError if they are more than ``bad_images`` allows."""
    number, limit = int((confidences == 0).sum()), recipe.bad_images
    if number > (limit if isinstance(limit, int) else limit * len(confidences)):
        why = f"allows fewer than the {number:,} of {len(confidences):,} unlabelled images that cannot be read."
        raise UserError(why, ExitCode.DATA, "bad_images", f"{limit:g}")
    if number:
        run.warn(f"{number:,} of {len(confidences):,} unlabelled images cannot be read, and are left out")


def select_pseudo_labels(
    recipe: recipes.Training, likeliest: np.ndarray, confidences: np.ndarray, classes: tuple[str, ...], run: Run
) -> np.ndarray:
    """Return the images that are used, sorted [M], and log how many of each class; raise UserError if none are."""
    options = recipe.pseudo
    if not (confidences > 0).any():
        assert recipe.unlabelled is not None
        why = f"has no readable image that is not also one of {recipe.data.name} too: give others."
        raise UserError(why, ExitCode.DATA, *typed_option(recipe.unlabelled))
    if (number := (options.per_class or 0) * len(classes)) > MOST_ROWS:
        why = f"makes up to {number:,} images an epoch with {count_classes(len(classes))}: at most {MOST_ROWS:,}."
        raise UserError(why, option="pseudo.per_class", value=str(options.per_class))
    rows = np.sort(data.select_images(likeliest, confidences, options.threshold, options.per_class))
    if not len(rows):
        examples = np.unique(likeliest[confidences > 0])[:MOST_NAMED]
        most = ", ".join(f"{classes[c]} {confidences[likeliest == c].max():.2g}" for c in examples)
        why = f"leaves no image of any class; the teacher's highest probabilities are: {most}. Give a lower one."
        raise UserError(why, ExitCode.DATA, "pseudo.threshold", f"{options.threshold:g}")
    used = np.unique(rows)
    counts = np.bincount(likeliest[used], minlength=len(classes))
    least, most_used = counts.argmin(), counts.argmax()
    repeated = f", {len(rows):,} with those that return" if len(rows) > len(used) else ""
    run.log(
        f"pseudo-labels: {len(used):,} of {int((confidences > 0).sum()):,} images{repeated}, from {counts[least]:,} of "
        f"{classes[least]} to {counts[most_used]:,} of {classes[most_used]}"
    )
    return rows
