"""What a recipe says of how weights move: the optimizer, the length of a run, and its learning rate over it."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from vitrun.recipes.base import Fraction, frozen_dataclass

DURATIONS = ("steps", "epochs", "examples")
Decay = Literal["kernels", "all"]  # what is decayed: kernels alone, or biases, norms, class token and positions too


@frozen_dataclass
class Adam:
    """Adam; ``adamw`` decouples the weight decay, ``adam`` adds it to the gradient."""

    kind: Literal["adam", "adamw"]
    lr: PositiveFloat
    weight_decay: NonNegativeFloat
    decay_units: Literal["paper", "big_vision"]  # a rate relative to the learning rate, or times its highest value
    decay: Decay
    betas: tuple[Fraction, Fraction]

    def __post_init__(self):
        if self.kind == "adam" and self.decay_units == "big_vision":
            raise ValueError("optim.decay_units=big_vision is for decoupled decay: choose optim=adamw")


@frozen_dataclass
class Sgd:
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"]
    lr: PositiveFloat
    weight_decay: NonNegativeFloat
    decay: Decay
    momentum: Fraction


Optim = Annotated[Adam | Sgd, Field(discriminator="kind")]


def parse_warmup(value: object) -> object:
    """A number of steps, or a share of the run from 0% to 100%."""
    share = re.fullmatch(r"(\d+(\.\d+)?)%", value) if isinstance(value, str) else None
    if share and float(share[1]) <= 100 or isinstance(value, int) and value >= 0:
        return value
    raise ValueError(f"warmup={value} cannot be: it should be a number of steps, or a share of the run as in 10%")


def check_schedule(recipe: Any) -> None:
    """A ValueError where the learning rate has no one course."""
    drops = list(recipe.drops)
    if bool(drops) != (recipe.schedule == "staircase"):
        way = "add drops=[]" if drops else "add drops=, the steps after which the learning rate falls to a tenth"
        raise ValueError(f"schedule={recipe.schedule} with drops={drops} cannot be: {way}")
    if drops != sorted(set(drops)):
        raise ValueError(f"drops={drops} cannot be: each should be later than the one before")
    if recipe.schedule_end and recipe.schedule not in ("cosine", "linear"):
        raise ValueError(f"schedule={recipe.schedule} has no end of its own: add schedule_end=0")
    if recipe.schedule_end >= recipe.optim.lr:
        raise ValueError(f"schedule_end={recipe.schedule_end:g} is not below optim.lr={recipe.optim.lr:g}")


def count_steps(recipe: Any, images: int) -> tuple[int, int]:
    """Steps of a run and of its warm-up, where an epoch has ``images``; a ValueError where nothing is left of it."""
    if recipe.steps:
        steps, told = recipe.steps, f"steps={recipe.steps}"
    else:
        steps = max(1, round((recipe.examples or recipe.epochs * images) / recipe.batch))
        of = f"the {images:,} images not held out" if recipe.holds_out else f"{images:,} images"
        told = f"epochs={recipe.epochs:g} of {of}" if recipe.epochs else f"examples={recipe.examples}"
        told = f"the {steps:,} step{'s' * (steps > 1)} that {told} in batches of {recipe.batch} make"
    warmup = recipe.warmup
    if isinstance(warmup, str):
        warmup = int(float(warmup[:-1]) / 100 * steps)
    if warmup >= steps:
        raise ValueError(
            f"warmup={recipe.warmup} leaves nothing of {told}: make the run longer, or the warm-up shorter, as in "
            "warmup=10%"
        )
    if recipe.drops and not warmup < recipe.drops[0] <= recipe.drops[-1] < steps:
        raise ValueError(
            f"drops={list(recipe.drops)} should lie between the {warmup} steps of the warm-up and the end of {told}"
        )
    return steps, warmup
