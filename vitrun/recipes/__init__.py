"""What each command can be told: the shape of a recipe, and nothing about how it is read. Values live in ``conf/``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from vitrun.recipes.base import NonEmpty, check_unique, frozen_dataclass
from vitrun.recipes.data import (
    DIGITS_IMAGES,
    Data,
    Dataset,
    DescribedDataset,
    Digits,
    Files,
    Shapes,
    Shards,
    Suite,
    Vtab,
    check_not_suite,
    check_trainable,
    count_held_out,
    describe_origin,
    is_url,
    set_group,
)
from vitrun.recipes.finetune import Finetune
from vitrun.recipes.model import BiT, Model, ModelInfo, Timm, ViT
from vitrun.recipes.objective import Labels, Masked, SimMim
from vitrun.recipes.optimizer import Adam, Sgd
from vitrun.recipes.pretrain import Pretrain
from vitrun.recipes.probe import Layers, LinearProbe, OnlineProbe, check_layers
from vitrun.recipes.run_recipe import DEFAULT_RES, RECIPE_FILE, RunRecipe
from vitrun.recipes.training import DURATIONS, Training
from vitrun.recipes.view import Augment, View

__all__ = [
    "DURATIONS",
    "RECIPES",
    "Adam",
    "Augment",
    "BiT",
    "Data",
    "Digits",
    "Files",
    "Dataset",
    "Labels",
    "LinearProbe",
]
__all__ += [
    "Masked",
    "Model",
    "ModelInfo",
    "OnlineProbe",
    "DescribedDataset",
    "Sgd",
    "Shapes",
    "Shards",
    "SimMim",
    "Suite",
    "Timm",
    "Training",
]
__all__ += ["ViT", "View", "Vtab", "check_not_suite", "check_trainable", "count_held_out", "is_url"]
__all__ += ["DIGITS_IMAGES", "DEFAULT_RES", "Recipe", "RunRecipe", "RECIPE_FILE", "describe_origin"]


@frozen_dataclass
class Fewshot(RunRecipe):
    """Measure frozen features with a linear classifier: closed-form on a few images a class, or trained on all."""

    init: str
    data: Data
    bad_images: Literal["stop", "skip"]  # what an unreadable image does
    probe: Literal["ridge", "linear"]
    layers: Layers  # of probe=linear; last is what the head reads
    linear: LinearProbe
    shots: NonEmpty[PositiveInt]
    seeds: NonEmpty[NonNegativeInt]
    l2: NonEmpty[PositiveFloat]  # each draw takes the best of several, by training images that it does not hold

    def __post_init__(self):
        check_not_suite(self.data)
        check_trainable(self.data)
        check_layers(self.probe, self.layers)
        for option in ("shots", "seeds", "l2"):
            check_unique(option, getattr(self, option))


@frozen_dataclass
class Eval(RunRecipe):
    """Count how often a model's answers on a test set are right."""

    init: str
    data: Data
    bad_images: Literal["stop", "skip"]  # what an unreadable image does
    dedup: str | None  # a dedup run against this test set, without whose duplicates to count too

    def __post_init__(self):
        check_not_suite(self.data)


@frozen_dataclass
class Dedup(RunRecipe):
    """Find the test images that a training set holds too."""

    data: Data  # whose training images are searched
    against: Data  # whose test images are looked for; none for those of ``data``
    distance: Annotated[int, Field(ge=0, le=64)]  # bits of 128 in which the hashes of near-duplicates differ at most
    init: str | None  # weights whose features are compared too; none for hashes alone
    similarity: Annotated[float, Field(gt=0, le=1)]  # least cosine of the features of near-duplicates

    def __post_init__(self):
        if self.against != self.data:
            object.__setattr__(self, "against", set_group(self.against, "against"))
        check_not_suite(self.data)
        check_not_suite(self.against)
        check_trainable(self.data)


PublishedTable = Literal[  # a file each of vitrun/published
    "table2", "table5", "table6", "table7", "table8", "vtab", "replications", "augreg", "timm", "better_vit",
    "pretraining", "masked", "bit", "baselines", "none",
]  # fmt: skip


@frozen_dataclass
class Compare:
    """Show finished runs beside the paper's published numbers."""

    runs: Path
    commands: tuple[Literal["pretrain", "finetune", "fewshot", "eval"], ...]  # whose results are shown
    rows: tuple[str, ...]  # what tells the rows apart; of these three none is as the published table has it
    columns: tuple[str, ...]  # what tells the columns apart
    values: NonEmpty[str]  # names of figures in a result; each is a row of its own
    paper: PublishedTable
    save: Path  # where the table goes, as .csv and .json


@frozen_dataclass
class Quickstart:
    """Run the whole chain with a small model on the embedded data, in minutes."""

    runs: Path


@frozen_dataclass
class Export:
    """Write weights in the form that another library reads."""

    init: str
    to: Literal["timm", "hf", "npz", "onnx"]
    path: Path | None  # none for the name of the model, here
    runs: Path


@frozen_dataclass
class ListModels:
    """List the models, with their sizes at a resolution."""

    res: PositiveInt
    classes: PositiveInt
    sort: Literal["name", "parameters", "gmac"]
    only: tuple[str, ...]  # shown are the rows whose name or kind has one of these in it; all where there is none


@frozen_dataclass
class ListData:
    """List the data sets, with their sizes and where they come from; or tell what is in a folder."""

    name: str | None  # the row to show, ``vtab`` for VTAB's nineteen; none for all
    data: Data | None  # the options of that data set where its images are looked into; none where its row is shown
    save: Path  # where the keys of VTAB-1k's images go, as JSON


Recipe = Pretrain | Finetune | Fewshot | Eval | Dedup | Compare | Quickstart | Export | ListModels | ListData
RECIPES: dict[str, type[Recipe]] = {
    "pretrain": Pretrain,
    "finetune": Finetune,
    "fewshot": Fewshot,
    "eval": Eval,
    "dedup": Dedup,
    "compare": Compare,
    "export": Export,
    "quickstart": Quickstart,
    "models": ListModels,
    "data": ListData,
}
