"""Recipe of ``vitrun dedup``."""

from typing import Annotated

from pydantic import Field

from vitrun.recipes.base import frozen_dataclass
from vitrun.recipes.data import Data, set_group
from vitrun.recipes.data_checks import check_not_suite, check_trainable
from vitrun.recipes.run_recipe import RunRecipe


@frozen_dataclass
class Dedup(RunRecipe):
    """Find the test images that are also in a training set."""

    data: Data  # the data set whose training images are searched
    against: Data  # the data set whose test images are looked for
    distance: Annotated[int, Field(ge=0, le=64)]  # maximum Hamming distance of near-duplicates: bits of 128
    init: str | None  # weights whose features are compared too; null for hashes only
    init_weights: str  # which of several: auto (best if kept, else the averaged), best, ema, plain, or their name
    similarity: Annotated[float, Field(gt=0, le=1)]  # minimum cosine of the features of near-duplicates

    def __post_init__(self) -> None:
        if self.against != self.data:
            object.__setattr__(self, "against", set_group(self.against, "against"))
        check_not_suite(self.data)
        check_not_suite(self.against)
        check_trainable(self.data)
