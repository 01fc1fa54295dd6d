"""Images that a command works on: opened, logged and recorded in its run, and their batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import NamedTuple, cast

import numpy as np

from vitrun import data, recipes
from vitrun.data.sources.messages import abbreviate, count_classes, typed_option
from vitrun.data.transforms.erasing import RandomErasing
from vitrun.data.transforms.randaugment import RandAugment
from vitrun.data.transforms.rectangles import RectangleView
from vitrun.data.transforms.views import CenterCropView, CropView
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import Training
from vitrun.runs import exclude
from vitrun.runs.run import Run
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine
from vitrun.runtime.random import derive_seed

PART_NAMES = {"train": "training", "test": "test"}


class TrainingImages(NamedTuple):
    """Images to train on, to test on, and those that are held out of training, if any are."""

    train: data.Split
    test: data.Split
    held_out: data.Split | None = None


def open_training_data(
    recipe: Training,
    run: Run,
    excluded: Sequence[str] = (),
    dev: float = 0.0,
    score: str = "test",
    open_split: Callable[..., data.Split] = data.open_split,
) -> TrainingImages:
    """Return the images to train on, those to test on, and those that are held out.

    ``excluded`` names dedup runs or files of keys, whose images are left out. The share ``dev`` of the training images
    is held out; with ``score="dev"`` it is the test part.
    """
    ranks = distributed.world_size()
    if recipe.batch < ranks:
        why = f"is less than one image for each of {ranks} ranks: give a larger batch."
        raise UserError(why, option="batch", value=str(recipe.batch))
    parts = ("train",) if dev and score == "dev" else ("train", "test")
    train, *others = open_parts(recipe.data, parts, run, excluded=excluded, open_split=open_split)
    held_out: data.Split | None = None
    if dev:
        train, held_out = data.hold_out(train, dev)
        run.log(f"held out: {len(held_out)} random training images{'' if others else ', to be scored on'}")
    test = others[0] if others else held_out
    assert test is not None  # score="dev" comes with images that are held out
    return TrainingImages(balance_classes(train, run) if recipe.sampler == "balanced" else train, test, held_out)


def balance_classes(train: data.Split, run: Run) -> data.Split:
    """Return the training images in an order with every class equally often; log how often images return.

    Raise UserError if an image may have several labels.
    """
    if train.labels.ndim > 1:
        why = "needs one label per image, but the data has images with several labels: leave it out."
        raise UserError(why, option="sampler", value="balanced")
    counts = np.bincount(train.labels)
    present = np.flatnonzero(counts)
    visits = len(train) / len(present)  # of each class in an epoch
    least, most = present[counts[present].argmin()], present[counts[present].argmax()]
    times = " and ".join(f"{visits / counts[n]:.3g} times if it is {train.classes[n]}" for n in (least, most))
    run.log(f"sampler: {len(present)} classes equally often; an epoch has an image {times}")
    if train.shard_order is not None:
        run.warn("sampler=balanced reads the shards at random, which is slow on a network disk")
    return data.balance_classes(train)


def open_parts(
    source: recipes.Data,
    parts: Sequence[str],
    run: Run,
    skip_bad: bool = False,
    excluded: Sequence[str] = (),
    open_split: Callable[..., data.Split] = data.open_split,
) -> list[data.Split]:
    """Return the ``parts`` of a data set; with ``skip_bad`` without unreadable images, the first without ``excluded``.

    Raise UserError (exit code 3) if the data has changed since the run started, or if training and test images are the
    same or have different classes. A dry run gets published sizes for what it would have to download.
    """
    published = [data.make_placeholder_split(source, part) for part in parts] if run.dry and not excluded else []
    splits = [split for split in published if split is not None]
    if len(splits) < len(parts):
        with distributed.rank_zero_first():
            splits = [open_split(source, part, run.screen, run.raise_if_interrupted) for part in parts]
        if len(parts) == 2:
            splits[1] = match_test_classes(source, *splits)
            check_not_same(source, *splits)
    if skip_bad and not run.dry:
        splits = [data.drop_bad_images(split, run.warn) for split in splits]
    if excluded:
        every = splits[0]
        splits[0] = every.exclude(exclude.load_excluded_keys(excluded, run.recipe.runs, every.fingerprint))
        number = len(every) - len(splits[0])
        run.log(f"left out: {number:,} of {len(every):,} {PART_NAMES[parts[0]]} images, by {', '.join(excluded)}")
    record_parts(source, dict(zip(parts, splits)), run)
    return splits


def record_parts(source: recipes.Data, splits: dict[str, data.Split], run: Run) -> None:
    """Log the parts of a data set and write their fingerprints to ``about.json``; raise UserError if ranks differ."""
    sizes = " and ".join(f"{len(split)} {PART_NAMES[part]}" for part, split in splits.items())
    first, *_ = splits.values()
    turned = ", turned by their EXIF orientation (data.exif=true)" if first.exif else ""
    what = f"{len(first.classes)} classes" if first.classes else "with captions"
    run.log(f"data: {source.name}, {sizes} images, {what}{turned}")
    locations = [location for location in dict.fromkeys(split.location for split in splits.values()) if location]
    for location in locations:
        run.log(f"from {location}")
    for note in dict.fromkeys(note for split in splits.values() for note in split.notes):
        run.log(note)
    for part, split in splits.items():
        if missing := data.describe_missing_classes(split):
            run.log(f"no {PART_NAMES[part]} images of {missing}")
    fingerprints = {f"{part}_data": split.fingerprint for part, split in splits.items()}
    check_same_on_ranks(source, fingerprints)
    run.update_about(**fingerprints, source="; ".join(locations))


def check_same_on_ranks(source: recipes.Data, fingerprints: object) -> None:
    """Raise UserError if the fingerprints of a data set's parts differ between ranks."""
    if any(others != fingerprints for others in distributed.all_gather_object(fingerprints)):
        why = "Not all ranks see the same images. Give them all the same files."
        raise UserError(why, ExitCode.DATA, *typed_option(source))


def match_test_classes(source: recipes.Data, train: data.Split, test: data.Split) -> data.Split:
    """Return the test images labelled by the training images' classes, matched by name.

    Raise UserError if a test class is none of them.
    """
    if test.classes == train.classes[: len(test.classes)]:
        return test
    positions = data.find_classes(train.classes, test.classes)
    unknown = [name for name, position in zip(test.classes, positions) if position < 0]
    if unknown:
        raise UserError(
            f"has test images of {count_classes(len(unknown))} that the training images lack: {abbreviate(unknown)}. "
            f"These have {len(train.classes):,}: {abbreviate(train.classes)}. Classes are matched by name.",
            ExitCode.DATA,
            *typed_option(source),
        )
    return data.relabel(test, train.classes, positions)


def check_not_same(source: recipes.Data, train: data.Split, test: data.Split) -> None:
    """Raise UserError if both parts are the same images."""
    rows = {0, len(train) // 2, len(train) - 1}
    if train.fingerprint == test.fingerprint and all(np.array_equal(train.raw(row), test.raw(row)) for row in rows):
        why = "The training and the test part are the same images. Choose another for one of them."
        raise UserError(why, ExitCode.DATA, *typed_option(source))


def make_train_view(
    source: recipes.Dataset, augment: recipes.Augment, view: recipes.View, res: int, seed: int, levels: bool = False
) -> CropView:
    """Return the random views of training images: the crop and flip of a data set, then augmentation.

    With ``levels``, views whose values are integers are uint8; the grey of random erasing, 127.5, is not an integer.
    """
    operations: list[RandAugment | RandomErasing] = []
    if augment.layers:
        operations.append(RandAugment(augment.randaugment, augment.layers, augment.magnitude, seed))
    if augment.erasing:
        operations.append(RandomErasing(augment.erasing, seed))
    crop = (source.crop, source.area, source.flip)
    levels = levels and not augment.erasing
    return CropView(res, *crop, seed, view.antialias, operations, view.interpolation, levels)


def make_train_batches(
    recipe: Training,
    labelled: data.Split,
    pseudo: data.PseudoLabels | None,
    make_view: Callable[[recipes.Dataset, int], CropView],
    steps: range,
    bad_images: data.BadImageBudget,
) -> Iterator[data.Batch]:
    """Yield the images of each of ``steps``: ``labelled`` ones, then unlabelled ones if the run has ``pseudo`` labels.

    ``make_view`` returns the random views of a data set and a seed. The unlabelled images have an order and views of
    their own.
    """
    view = make_view(cast(recipes.Dataset, recipe.data), recipe.seed)  # a suite is fine-tuned task by task
    batches = data.train_batches(labelled, view, recipe.batch, recipe.seed, steps, bad_images)
    if pseudo is None:
        return batches
    seed = derive_seed(recipe.seed, "unlabelled")
    view = make_view(cast(recipes.Dataset, recipe.unlabelled), seed)
    unlabelled = pseudo.make_batches(view, recipe.step_images - recipe.batch, seed, steps)
    return data.join_batches(batches, unlabelled, len(labelled))


def make_eval_batches(
    split: data.Split, res: int, view: recipes.View, batch: int, machine: Machine
) -> Iterator[data.Batch]:
    """Yield batches of every image of a split once, as ``view`` shows test images at ``res``, computed in advance."""
    center = CenterCropView(res, **asdict(view), levels=machine.takes_levels)
    return prefetch_batches(data.test_batches(split, center, batch), machine)


def make_readable_batches(
    split: data.Split,
    res: int,
    view: recipes.View,
    batch: int,
    machine: Machine,
    report: Callable[[int, UserError], None],
) -> Iterator[data.Batch]:
    """Yield :func:`make_eval_batches` of the images that can be read; the others are given to ``report``."""
    batches = data.readable_batches(split, CenterCropView(res, **asdict(view)), batch, report)
    return prefetch_batches(batches, machine)


def make_rectangle_batches(
    split: data.Split,
    res: int,
    view: recipes.View,
    batch: int,
    machine: Machine,
    report: Callable[[int, UserError], None] = data.raise_bad_image,
) -> Iterator[data.Batch]:
    """Yield batches of every image of a split once, as rectangles of ``view``, with their padding.

    Images that cannot be read are given to ``report`` and left out.
    """
    options = {key: value for key, value in asdict(view).items() if key != "crop"}
    batches = data.rectangle_batches(split, RectangleView(res, **options), batch, report)
    return prefetch_batches(batches, machine)


def prefetch_batches(batches: Iterator[data.Batch], machine: Machine) -> Iterator[data.Batch]:
    """Yield ``batches``, computed in advance by a thread, for a GPU in memory from which it copies them by itself."""
    if machine.device.type == "cuda":
        batches = (batch.pin() for batch in batches)
    return data.prefetch(batches, machine.loader_threads)
