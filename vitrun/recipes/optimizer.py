"""Optimizers that a recipe can choose."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from vitrun.recipes.base import Fraction, OptionError, frozen_dataclass

Factor = Annotated[float, Field(gt=0, le=1)]
# The parameters that are decayed; matrices: also positions and token embeddings; all: also biases, norms, class token
Decay = Literal["kernels", "matrices", "all"]


@frozen_dataclass
class Adam:
    """Adam; ``adamw`` decouples the weight decay, ``adam`` adds it to the gradient."""

    kind: Literal["adam", "adamw"]  # comes with optim=NAME
    lr: PositiveFloat  # highest learning rate, after the warm-up, whatever the batch: it is not scaled
    weight_decay: NonNegativeFloat  # rate of weight decay, in decay_units
    # a step subtracts from weights w: lr * weight_decay * w (paper, as torch.optim.AdamW and timm), or
    # lr / peak lr * weight_decay * w (big_vision)
    decay_units: Literal["paper", "big_vision"]
    # weight decay of the last layer, in the same units; null for weight_decay
    head_decay: NonNegativeFloat | None
    # what is decayed: kernels, matrices (also positions and token embeddings, as in CLIP), or all (also biases, norms)
    decay: Decay
    layer_decay: Factor  # learning rate of a layer, relative to that of the next one; 1 for the same in all
    betas: tuple[Fraction, Fraction]  # decay of the means of the gradient and of its square
    epsilon: PositiveFloat  # added to the root of the mean square of the gradient

    def __post_init__(self) -> None:
        if self.kind == "adam" and self.decay_units == "big_vision":
            raise OptionError("decay_units", self.decay_units, "is for decoupled weight decay: choose optim=adamw.")


@frozen_dataclass
class Sgd:
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"]  # comes with optim=NAME
    lr: PositiveFloat  # highest learning rate, after the warm-up, whatever the batch: it is not scaled
    weight_decay: NonNegativeFloat  # rate of weight decay, relative to the learning rate
    # weight decay of the last layer, in the same units; null for weight_decay
    head_decay: NonNegativeFloat | None
    # what is decayed: kernels, matrices (also positions and token embeddings, as in CLIP), or all (also biases, norms)
    decay: Decay
    layer_decay: Factor  # learning rate of a layer, relative to that of the next one; 1 for the same in all
    momentum: Fraction  # decay of the mean of the gradients
    nesterov: bool  # take the step from where the momentum leads, as Nesterov


@frozen_dataclass
class Adafactor:
    """Adafactor of scaling vision transformers (arXiv 2106.04560): factored mean squares, momentum in bfloat16."""

    kind: Literal["adafactor"]  # comes with optim=NAME
    lr: PositiveFloat  # highest learning rate, after the warm-up, whatever the batch: it is not scaled
    weight_decay: NonNegativeFloat  # rate of weight decay, in decay_units
    # a step subtracts from weights w: lr * weight_decay * w (paper, as torch.optim.AdamW and timm), or
    # lr / peak lr * weight_decay * w (big_vision)
    decay_units: Literal["paper", "big_vision"]
    # weight decay of the last layer, in the same units; null for weight_decay
    head_decay: NonNegativeFloat | None
    decay: Decay  # what is decayed: kernels only, or also biases, norms, class token and positions
    layer_decay: Factor  # learning rate of a layer, relative to that of the next one; 1 for the same in all
    momentum: Fraction  # decay of the mean of the updates
    max_decay: Fraction  # highest decay of the mean of the squared gradient, which is 1 - t^-0.8 in step t


@frozen_dataclass
class RmsProp:
    """RMSProp as TensorFlow computes it: epsilon inside the root, mean squares from 1, momentum of whole steps."""

    kind: Literal["rmsprop"]  # comes with optim=NAME
    lr: PositiveFloat  # highest learning rate, after the warm-up, whatever the batch: it is not scaled
    weight_decay: NonNegativeFloat  # rate of weight decay, which is added to the gradient (L2)
    # weight decay of the last layer, in the same units; null for weight_decay
    head_decay: NonNegativeFloat | None
    # what is decayed: kernels, matrices (also positions and token embeddings, as in CLIP), or all (also biases, norms)
    decay: Decay
    layer_decay: Factor  # learning rate of a layer, relative to that of the next one; 1 for the same in all
    square_decay: Fraction  # decay of the mean of the squared gradient: TensorFlow's decay, torch's alpha
    momentum: Fraction  # decay of the sum of the steps
    epsilon: PositiveFloat  # added to the mean of the squared gradient, before its root


Optim = Annotated[Adam | Sgd | Adafactor | RmsProp, Field(discriminator="kind")]
