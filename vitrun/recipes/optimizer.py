"""Optimizers that a recipe can choose."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from vitrun.recipes.base import Fraction, OptionError, frozen_dataclass

Factor = Annotated[float, Field(gt=0, le=1)]
Decay = Literal["kernels", "all"]  # the parameters that are decayed; all: also biases, norms, class token, positions


@frozen_dataclass
class Adam:
    """Adam; ``adamw`` decouples the weight decay, ``adam`` adds it to the gradient."""

    kind: Literal["adam", "adamw"]
    lr: PositiveFloat
    weight_decay: NonNegativeFloat
    decay_units: Literal["paper", "big_vision"]  # a rate relative to the learning rate, or times its highest value
    decay: Decay
    layer_decay: Factor  # learning rate of a layer, relative to that of the next one; 1 for the same in all
    betas: tuple[Fraction, Fraction]

    def __post_init__(self) -> None:
        if self.kind == "adam" and self.decay_units == "big_vision":
            raise OptionError("decay_units", self.decay_units, "is for decoupled weight decay: choose optim=adamw.")


@frozen_dataclass
class Sgd:
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"]
    lr: PositiveFloat
    weight_decay: NonNegativeFloat
    decay: Decay
    layer_decay: Factor  # learning rate of a layer, relative to that of the next one; 1 for the same in all
    momentum: Fraction


Optim = Annotated[Adam | Sgd, Field(discriminator="kind")]
