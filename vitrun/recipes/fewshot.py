"""Recipe of ``vitrun fewshot``."""

from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from vitrun.recipes.base import NonEmpty, check_unique, frozen_dataclass
from vitrun.recipes.data import Data
from vitrun.recipes.data_checks import check_not_suite, check_trainable
from vitrun.recipes.probe import Layers, LinearProbe, check_layers
from vitrun.recipes.run_recipe import RunRecipe


@frozen_dataclass
class Fewshot(RunRecipe):
    """Measure frozen features with a linear classifier: closed-form on a few images per class, or trained on all."""

    init: str
    init_weights: str  # of a file with several: auto (the averaged, as timm), ema, plain, or their name in it
    data: Data
    bad_images: Literal["stop", "skip"]  # what to do at an unreadable image
    probe: Literal["ridge", "linear"]
    layers: Layers  # of probe=linear; last is the input of the head
    linear: LinearProbe
    shots: NonEmpty[PositiveInt]
    seeds: NonEmpty[NonNegativeInt]
    l2: NonEmpty[PositiveFloat]  # each draw uses the best of several, chosen on training images outside the draw

    def __post_init__(self) -> None:
        check_not_suite(self.data)
        check_trainable(self.data)
        check_layers(self.probe, self.layers)
        for option in ("shots", "seeds", "l2"):
            check_unique(option, getattr(self, option))
