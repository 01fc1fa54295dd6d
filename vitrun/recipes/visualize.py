"""Recipe of ``vitrun visualize``."""

from typing import Annotated, Literal

from pydantic import Field

from vitrun.recipes.base import Images, OptionError, check_unique, frozen_dataclass
from vitrun.recipes.data import Data
from vitrun.recipes.data_checks import check_one_source
from vitrun.recipes.probe import Layers
from vitrun.recipes.run_recipe import RunRecipe


@frozen_dataclass
class Visualize(RunRecipe):
    """Draw what a vision transformer attends to, the filters of its patch embedding, and its position embeddings."""

    init: str  # the weights: latest, a run, a file, a folder, timm:TAG, hf:ORG/NAME or random:MODEL
    init_weights: str  # which of several: auto (best if kept, else the averaged), best, ema, plain, or their name
    # files, folders with all images below them, and globs, which may also be typed without images=; - reads them from
    # standard input; [] for images of data
    images: tuple[str, ...]
    data: Data | None  # the data set whose test images are used; null for that of the weights, if they have one
    count: Images  # images that attention distance is averaged over, evenly drawn if there are more
    shown: Annotated[int, Field(ge=0, le=64)]  # of these, the images whose attention is drawn
    layers: Layers  # whose attention is drawn: numbers from 1 as in 1,6,12, all, or last
    heads: Literal["mean", "each"]  # one map per layer, the mean over heads, or one for each head

    def __post_init__(self) -> None:
        check_one_source(self.images, self.data)
        if not self.layers or len(self.layers) > 1 and {"last", "all"} & set(self.layers) or 0 in self.layers:
            raise OptionError("layers", self.layers, "must be last, or all, or numbers from 1 alone as in 1,6,12.")
        check_unique("layers", self.layers)
