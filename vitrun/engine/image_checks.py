"""Checks for images that cannot be read before training starts, and the count of those in training."""

from collections.abc import Iterable

from vitrun import data
from vitrun.errors import ExitCode, UserError
from vitrun.runs.run import Run


def check_images(train: data.Split, tested: Iterable[data.Split], bad_images: data.BadImageBudget, run: Run) -> None:
    """Raise UserError (exit code 3) if an image to be tested on, or too many training images, cannot be read."""
    for test in {id(split): split for split in tested}.values():
        check_test_images(test)
    if done := data.check_before_training(train, bad_images):
        run.log(done)


def check_test_images(test: data.Split) -> None:
    """Raise UserError (exit code 3) if a test image cannot be read."""
    if bad := data.find_bad_images(test):
        first = next(iter(bad.values()))
        raise UserError(f"{len(bad)} of {len(test)} test images cannot be read: {first}", ExitCode.DATA)


def build_bad_image_budget(train: data.Split, limit: int | float, run: Run) -> data.BadImageBudget:
    """Return the count of bad training images, at most ``limit``, which begins with those of earlier attempts."""

    def report(key: str, sentence: str) -> None:
        run.log_metrics({"bad_image": key})
        run.warn(f"Unreadable, to be replaced in training: {sentence}")

    known = [line["bad_image"] for line in run.read_metrics("bad_image", str)]
    return data.BadImageBudget(train, limit, report, known)
