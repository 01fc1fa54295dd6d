"""Recipe of ``vitrun eval``."""

from typing import Literal

from vitrun.recipes.base import frozen_dataclass
from vitrun.recipes.data import Data
from vitrun.recipes.data_checks import check_not_suite
from vitrun.recipes.run_recipe import RunRecipe


@frozen_dataclass
class Eval(RunRecipe):
    """Measure the accuracy of a model on a test set."""

    init: str
    init_weights: str  # of a file with several: auto (the averaged, as timm), ema, plain, or their name in it
    data: Data
    bad_images: Literal["stop", "skip"]  # what to do at an unreadable image
    dedup: str | None  # a dedup run against this test set, to evaluate without its duplicates too

    def __post_init__(self) -> None:
        check_not_suite(self.data)
