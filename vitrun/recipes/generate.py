"""Recipe of ``vitrun generate``."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat

from vitrun.recipes.base import OptionError, Seed, frozen_dataclass
from vitrun.recipes.data import Data
from vitrun.recipes.data_checks import check_one_source
from vitrun.recipes.run_recipe import RunRecipe


@frozen_dataclass
class Generate(RunRecipe):
    """Sample images pixel by pixel from an ImageGPT, whole or as completions of given ones."""

    init: str  # the weights: latest, a run, a file, a folder, hf:ORG/NAME or random:MODEL
    init_weights: str  # which of several: auto (best if kept, else the averaged), best, ema, plain, or their name
    given: Literal["half", "none"]  # what is given of each image: its upper half, or nothing
    images: tuple[str, ...]  # image files, folders, and patterns as photos/*.jpg; [] for those of data
    data: Data | None  # the data set whose test images are completed; null for that of the weights, if they have one
    count: Annotated[int, Field(ge=1, le=256)]  # images to complete, evenly drawn if there are more; rows of the grid
    samples: Annotated[int, Field(ge=1, le=64)]  # samples in each row of the grid
    temperature: NonNegativeFloat  # divides the logits; below 1 samples are more alike, 0 takes the likeliest colours
    top: Annotated[int, Field(ge=0)]  # likeliest colours to sample from; 0 for all, as published
    seed: Seed  # of the random numbers

    def __post_init__(self) -> None:
        check_one_source(self.images, self.data)
        if self.given == "none" and self.images:
            raise OptionError("images", self.images, "has no effect with given=none: leave one of the two out.")
        if self.given == "none" and not self.temperature:
            raise OptionError("temperature", 0, "makes all samples equal with given=none: choose a higher one.")
