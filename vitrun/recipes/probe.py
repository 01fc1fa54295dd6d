"""What probes of frozen features are told: those of pretraining on its way, and the linear one."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, NonNegativeInt, PositiveFloat, PositiveInt

from vitrun.recipes.base import NonEmpty, check_unique, frozen_dataclass


def parse_interval(value: object) -> object:
    """A number of steps, or a share of the run above 0% and up to 100%; none for never."""
    share = re.fullmatch(r"(\d+(\.\d+)?)%", value) if isinstance(value, str) else None
    if value is None or share and 0 < float(share[1]) <= 100 or isinstance(value, int) and value > 0:
        return value
    raise ValueError(f"fewshot.every={value} cannot be: it should be a number of steps, or a share of the run as in 5%")


@frozen_dataclass
class OnlineProbe:
    """The closed-form probe of ``vitrun fewshot``, at the first step, at every multiple and at the end."""

    every: Annotated[int | str | None, BeforeValidator(parse_interval)]
    data: tuple[str, ...]  # names of data sets; none for what the run trains on
    paths: tuple[Path | None, ...]  # where the images of each of them are, or null; none for no set's
    shots: NonEmpty[PositiveInt]
    seeds: NonEmpty[NonNegativeInt]
    l2: NonEmpty[PositiveFloat]

    def __post_init__(self):
        for option in ("data", "shots", "seeds", "l2"):
            check_unique(f"fewshot.{option}", getattr(self, option))


def check_online_probe(probe: OnlineProbe) -> None:
    """A ValueError where the overrides do not fit together."""
    if probe.every is None and (probe.data or probe.paths):
        given = "fewshot.data" if probe.data else "fewshot.paths"
        raise ValueError(f"{given} without fewshot.every probes nothing: add fewshot.every=25%, or a number of steps")
    if probe.paths and len(probe.paths) != len(probe.data):
        raise ValueError(
            f"fewshot.paths has {len(probe.paths)} and fewshot.data {len(probe.data)}: give one path for each, or null"
        )


@frozen_dataclass
class LinearProbe:
    """The linear probe, trained on all training images."""

    pooling: Literal["mean", "token"]  # of a layer's tokens: the mean over the patches, or the class token
    l2: NonEmpty[PositiveFloat]  # the best of them on a tenth of the training images is taken


def parse_layer(value: object) -> object:
    """The number of a layer, or last, or all."""
    if value in ("last", "all") or isinstance(value, int) and value >= 0:
        return value
    raise ValueError(f"layers={value} cannot be: it should be last, or all, or numbers alone as in 0,6,12")


Layers = tuple[Annotated[int | str, BeforeValidator(parse_layer)], ...]


def check_layers(probe: str, layers: tuple) -> None:
    """A ValueError where the overrides do not fit together."""
    shown = ",".join(map(str, layers))
    if not layers or len(layers) > 1 and {"last", "all"} & set(layers):
        raise ValueError(f"layers=[{shown}] cannot be: it should be last, or all, or numbers alone as in 0,6,12")
    check_unique("layers", layers)
    if probe == "ridge" and layers != ("last",):
        raise ValueError(f"layers={shown} is for probe=linear: add that")
