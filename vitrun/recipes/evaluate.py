"""Recipe of ``vitrun eval``."""

from typing import Literal

from vitrun.recipes.base import frozen_dataclass
from vitrun.recipes.data import Data
from vitrun.recipes.data_checks import check_not_suite
from vitrun.recipes.prompts import find_prompts
from vitrun.recipes.run_recipe import RunRecipe


@frozen_dataclass
class Eval(RunRecipe):
    """Measure the accuracy of a model on a test set."""

    init: str  # the weights: latest, a run, a file, a folder, timm:TAG, hf:ORG/NAME or random:MODEL
    init_weights: str  # which of several: auto (best if kept, else the averaged), best, ema, plain, or their name
    data: Data  # the data set to test on; as a rule that of the weights
    match: Literal["name", "known", "order"]  # classes by name; known leaves out images of others; or by their order
    bad_images: Literal["stop", "skip"]  # what to do at an unreadable image
    dedup: str | None  # a dedup run against this test set, to test without its duplicates too
    # texts about the classes, for a CLIP: auto for those of the data set, a template with {} for the name of a class, a
    # file with templates and names, or the name of another set with prompts
    prompts: str

    def __post_init__(self) -> None:
        check_not_suite(self.data)
        find_prompts(self.prompts, self.data)
