"""The length of a training run, and the learning rate over it."""

import re
from typing import TYPE_CHECKING

from vitrun.recipes.base import OptionError

if TYPE_CHECKING:
    from vitrun.recipes.training import Training

DURATIONS = ("steps", "epochs", "examples")


def parse_warmup(value: object) -> object:
    """Return ``value`` if it is a number of steps, or a share of the run from 0% to 100%; raise a ValueError if not."""
    share = re.fullmatch(r"(\d+(\.\d+)?)%", value) if isinstance(value, str) else None
    if share and float(share[1]) <= 100 or isinstance(value, int) and value >= 0:
        return value
    raise ValueError("must be a number of steps, or a share of the run as in 10%.")


def check_schedule(recipe: "Training") -> None:
    """Raise an OptionError if the options of the learning rate contradict each other."""
    drops, schedule, end = list(recipe.drops), recipe.schedule, recipe.schedule_end
    if drops and schedule != "staircase":
        raise OptionError("drops", drops, f"has no effect with schedule={schedule}: add drops=[].")
    if schedule == "staircase" and not drops:
        why = "needs the steps after which the learning rate falls to a tenth: add drops=[STEP,STEP]."
        raise OptionError("schedule", schedule, why)
    if drops != sorted(set(drops)):
        raise OptionError("drops", drops, "must be increasing.")
    if end and schedule not in ("cosine", "linear"):
        raise OptionError("schedule", schedule, "has no final learning rate: add schedule_end=0.")
    if end >= recipe.optim.lr:
        raise OptionError("schedule_end", end, f"must be below optim.lr={recipe.optim.lr:g}.")


def count_steps(recipe: "Training", images: int) -> tuple[int, int]:
    """Return the steps of a run and of its warm-up, for epochs of ``images``.

    Raise an OptionError if the warm-up or a drop of the learning rate does not lie within the run.
    """
    if recipe.steps:
        steps, duration = recipe.steps, f"steps={recipe.steps}"
    else:
        steps = max(1, round((recipe.examples or (recipe.epochs or 0) * images) / recipe.batch))
        epoch = f"the {images:,} images not held out" if recipe.holds_out else f"{images:,} images"
        length = f"epochs={recipe.epochs:g} of {epoch}" if recipe.epochs else f"examples={recipe.examples}"
        duration = f"the {steps:,} step{'s' * (steps > 1)} of {length} in batches of {recipe.batch}"
    warmup = recipe.warmup
    if isinstance(warmup, str):
        warmup = int(float(warmup[:-1]) / 100 * steps)
    if warmup >= steps:
        why = f"leaves no step of {duration}: make the run longer or the warm-up shorter, as in warmup=10%."
        raise OptionError("warmup", recipe.warmup, why)
    if recipe.drops and not warmup < recipe.drops[0] <= recipe.drops[-1] < steps:
        why = f"must lie between the {warmup} warm-up steps and the end of {duration}."
        raise OptionError("drops", recipe.drops, why)
    return steps, warmup
