"""Recipe of ``vitrun fewshot``."""

from typing import Literal

from vitrun.recipes.base import NonEmpty, Penalty, Seed, Shots, check_unique, frozen_dataclass
from vitrun.recipes.data import Data
from vitrun.recipes.data_checks import check_has_labels, check_not_suite, check_trainable
from vitrun.recipes.probe import Layers, LinearProbe, check_layers
from vitrun.recipes.run_recipe import RunRecipe


@frozen_dataclass
class Fewshot(RunRecipe):
    """Measure frozen features with a linear classifier: closed-form on a few images per class, or trained on all."""

    init: str  # the weights: latest, a run, a file, a folder, timm:TAG, hf:ORG/NAME or random:MODEL
    init_weights: str  # which of several: auto (best if kept, else the averaged), best, ema, plain, or their name
    data: Data  # the data set, or several: data=digits,cifar10
    bad_images: Literal["stop", "skip"]  # what to do at an unreadable image
    probe: Literal["ridge", "linear"]  # closed-form regression on a few images, or logistic regression on all
    layers: Layers  # of probe=linear: numbers as in 0,6,12, all, or last, the input of the head
    linear: LinearProbe  # options of probe=linear
    shots: NonEmpty[Shots]  # training images per class
    seeds: NonEmpty[Seed]  # seeds of the draws of these images, one each
    l2: NonEmpty[Penalty]  # L2 penalty; of several the best on training images outside the draw is used

    def __post_init__(self) -> None:
        check_not_suite(self.data)
        check_trainable(self.data)
        check_has_labels(self.data, "vitrun fewshot")
        check_layers(self.probe, self.layers)
        for option in ("shots", "seeds", "l2"):
            check_unique(option, getattr(self, option))
