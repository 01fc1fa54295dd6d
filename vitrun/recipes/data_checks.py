"""Checks of the data set of a recipe, and the number of its training images."""

from vitrun.recipes.base import OptionError
from vitrun.recipes.data import DIGITS_IMAGES, Data, Digits, Files
from vitrun.recipes.vtab import VTAB_TRAIN_PARTS, Suite, Vtab


def check_not_suite(data: Data) -> None:
    """Raise an OptionError if the data set is a suite of several tasks."""
    if isinstance(data, Suite):
        task = f"{data.group}={data.name}/{data.tasks[0]}"
        why = f"is a suite of {len(data.tasks)} tasks, for vitrun finetune only: choose one of them, as in {task}."
        raise OptionError(data.group, data.name, why)


def check_one_source(images: tuple[str, ...], data: Data | None) -> None:
    """Raise an OptionError if images are named twice, or the data set is a suite of several tasks."""
    if data is None:
        return
    check_not_suite(data)
    if images:
        why = f"and data={data.name} both name images: leave one of them out."
        raise OptionError("images", images, why)


def check_has_labels(data: Data, what: str) -> None:
    """Raise an OptionError if images have captions and no labels, which ``what`` needs."""
    if not getattr(data, "has_labels", True):
        why = f"has captions and no labels, which {what} needs: choose a data set with classes."
        raise OptionError(data.group, data.name, why)


def count_train_images(data: Data) -> int | None:
    """Return the number of training images; None if it is not known before the data set is opened."""
    if isinstance(data, Digits):
        return DIGITS_IMAGES - data.test_images
    if isinstance(data, Vtab):
        return VTAB_TRAIN_PARTS[data.train]
    return getattr(data, "train_images", None)  # an installed package may add data sets without it


def count_held_out(images: int, share: float) -> int:
    """Return the number of images in a share of the training images, at least 1; raise an OptionError if it is all."""
    number = max(1, round(images * share))
    if number >= images:
        raise OptionError("dev", share, f"leaves none of {images} training images to train on: give a smaller share.")
    return number


def check_trainable(data: Data) -> None:
    """Raise an OptionError if the data set is for evaluation only."""
    only_test = getattr(data, "train", "") is None
    if only_test or isinstance(data, Files) and data.labels != "original":
        why = "it has" if only_test else f"with {data.group}.labels={getattr(data, 'labels', '')} there are"
        raise OptionError(data.group, data.name, f"is for vitrun eval only: {why} no training images.")
