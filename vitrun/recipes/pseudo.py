"""Options of the labels that a teacher gives to unlabelled images (Noisy Student, arXiv 1911.04252)."""

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat

from vitrun.recipes.base import OptionError, frozen_dataclass
from vitrun.recipes.data_checks import check_not_suite, check_trainable


@frozen_dataclass
class Pseudo:
    """Labels of a teacher: which images they are of, and how they count."""

    labels: Literal["soft", "hard"]  # the teacher's probabilities, or its likeliest class
    # what the teacher's logits are divided by: above 1 the probabilities are flatter
    temperature: Annotated[float, Field(ge=1e-3, le=1e3)]
    threshold: Annotated[float, Field(ge=0, le=1)]  # least probability of the likeliest class for an image to be used
    # images of each class, by the teacher's answer: the most confident ones, all again where there are fewer; null for
    # every image once
    per_class: Annotated[int, Field(gt=0, le=10**9)] | None
    ratio: Annotated[int, Field(gt=0, le=1000)]  # unlabelled images in a step for each labelled one
    # weight of the mean loss of the unlabelled images beside that of the labelled ones: 1 for the paper's algorithm 1,
    # the ratio for the published code; null for the mean over all images of a step
    weight: Annotated[NonNegativeFloat, Field(le=1000)] | None


def check_pseudo(recipe: Any) -> None:
    """Raise an OptionError if the teacher of a training recipe has no images to label, or nothing to teach."""
    teacher, unlabelled = recipe.teacher, recipe.unlabelled
    if unlabelled is not None and teacher is None:
        why = "needs a model that labels its images: add teacher=RUN."
        raise OptionError("unlabelled", unlabelled.name, why)
    if teacher is None:
        if recipe.rounds > 1:
            why = "are trained by a teacher, which is the student of the round before: add teacher=RUN unlabelled=NAME."
            raise OptionError("rounds", recipe.rounds, why)
        return
    if unlabelled is None:
        raise OptionError("teacher", teacher, "needs images to label: add unlabelled=NAME.")
    check_not_suite(recipe.data)
    check_not_suite(unlabelled)
    check_trainable(unlabelled)
    objective = getattr(recipe, "objective", None)
    if objective is not None and objective.kind != "labels":
        why = f"gives labels, which objective={objective.kind} does not read: use objective=labels."
        raise OptionError("teacher", teacher, why)
    if getattr(recipe, "detects", False):
        raise OptionError("teacher", teacher, "gives labels, and this run trains on boxes: leave it out.")
    if recipe.loss != "softmax":
        raise OptionError("loss", recipe.loss, "has no pseudo-labels, which are of one class per image: use softmax.")
    if getattr(recipe, "generative", 0):
        raise OptionError("teacher", teacher, "labels images for the loss of labels alone: add generative=0.")
