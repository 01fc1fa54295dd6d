"""Options of measurements during training (online probe, evaluations), and of the linear probe."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from vitrun.recipes.base import NonEmpty, OptionError, Penalty, Seed, Shots, check_unique, frozen_dataclass
from vitrun.recipes.option_values import parse_interval

LAYERS = "must be last, or all, or numbers alone as in 0,6,12."


@frozen_dataclass
class OnlineProbe:
    """Closed-form probe of ``vitrun fewshot``, at the first step, at every multiple and at the end."""

    # steps between two probes, or a share of the run as in 25%; null for never
    every: Annotated[int | str | None, BeforeValidator(parse_interval)]
    data: tuple[str, ...]  # names of data sets; [] for the one that the run trains on
    paths: tuple[Path | None, ...]  # the folder of each of fewshot.data, or null; [] if none needs one
    shots: NonEmpty[Shots]  # training images per class
    seeds: NonEmpty[Seed]  # seeds of the draws of these images, one each
    l2: NonEmpty[Penalty]  # L2 penalty; of several the best on training images outside the draw is used

    def __post_init__(self) -> None:
        for option in ("data", "shots", "seeds", "l2"):
            check_unique(option, getattr(self, option))
        for option in ("data", "paths"):
            if (given := getattr(self, option)) and self.every is None:
                why = "has no effect without fewshot.every: add fewshot.every=25%, or a number of steps."
                raise OptionError(option, given, why)
        if self.paths and len(self.paths) != len(self.data):
            why = f"has {len(self.paths)} paths for {len(self.data)} names in fewshot.data: give one for each, or null."
            raise OptionError("paths", self.paths, why)


@frozen_dataclass
class OnlineEval:
    """Evaluation during training, as at its end, at every multiple and after the last step."""

    # steps between two evaluations, or a share of the run as in 10%; null for never
    every: Annotated[int | str | None, BeforeValidator(parse_interval)]
    # evaluations without a gain that end training; null: none do
    patience: Annotated[int, Field(gt=0, le=10**9)] | None

    def __post_init__(self) -> None:
        if self.patience is not None and self.every is None:
            why = "counts evaluations, and there are none: add eval.every=10%, or a number of steps."
            raise OptionError("patience", self.patience, why)


@frozen_dataclass
class LinearProbe:
    """Linear probe, trained on all training images."""

    pooling: Literal["mean", "token"]  # of a layer's tokens: the mean over the patches, or the class token
    l2: NonEmpty[Penalty]  # L2 penalties; the best on a tenth of the training images is used


def parse_layer(value: object) -> object:
    """Return ``value`` if it is the number of a layer, ``last`` or ``all``; raise a ValueError if not."""
    if value in ("last", "all") or isinstance(value, int) and value >= 0:
        return value
    raise ValueError(LAYERS)


Layers = tuple[Annotated[int | str, BeforeValidator(parse_layer)], ...]


def check_layers(probe: str, layers: Layers) -> None:
    """Raise an OptionError if the layers contradict each other or the kind of probe."""
    if not layers or len(layers) > 1 and {"last", "all"} & set(layers):
        raise OptionError("layers", layers, LAYERS)
    check_unique("layers", layers)
    if probe == "ridge" and layers != ("last",):
        raise OptionError("layers", layers, "is for the linear probe: add probe=linear.")
