"""What each verb can be told: the shape of a recipe, and nothing about how it is read. Values live in ``conf/``."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from vitrun.recipe.data import (
    Data,
    Digits,
    Files,
    Images,
    Published,
    Shapes,
    Shards,
    Vtab,
    check_trainable,
    on_the_net,
)
from vitrun.recipe.model import BiT, Model, Timm, ViT
from vitrun.recipe.objective import Labels, Masked, Objective, SimMim
from vitrun.recipe.part import Fraction, recipe
from vitrun.recipe.probe import Linear, Probe, check_layers, check_probe
from vitrun.recipe.view import Augment, View

__all__ = ["BiT", "Data", "Digits", "Files", "Images", "Model", "Published", "Shapes", "Shards", "Timm", "ViT", "Vtab"]
__all__ += ["Augment", "Labels", "Linear", "Masked", "Probe", "SimMim", "View", "check_trainable", "on_the_net"]


def warm_up(value: object) -> object:
    """A number of steps, or a share of the run from 0% to 100%."""
    share = re.fullmatch(r"(\d+(\.\d+)?)%", value) if isinstance(value, str) else None
    if share and float(share[1]) <= 100 or isinstance(value, int) and value >= 0:
        return value
    raise ValueError(f"warmup={value} cannot be: it should be a number of steps, or a share of the run as in 10%")


@recipe
class Adam:
    """Adam; ``adamw`` decouples the weight decay, ``adam`` adds it to the gradient."""

    kind: Literal["adam", "adamw"]
    lr: PositiveFloat
    weight_decay: NonNegativeFloat
    betas: tuple[Fraction, Fraction]


@recipe
class Sgd:
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"]
    lr: PositiveFloat
    weight_decay: NonNegativeFloat
    momentum: Fraction


Optim = Annotated[Adam | Sgd, Field(discriminator="kind")]


@recipe
class Running:
    """What every verb that makes a run is told."""

    res: Annotated[int, Field(ge=8)] | None
    view: View
    batch: PositiveInt
    precision: Literal["auto", "fp32", "bf16"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    runs: Path  # the folder that holds all run folders

    # These change how a run is carried out, not what it computes: the run's name does not depend on them.
    how = ("device", "runs")


@recipe
class Training(Running):
    """What pretraining and fine-tuning share."""

    data: Data
    optim: Optim
    steps: PositiveInt | None  # the duration, in one of three units
    epochs: PositiveFloat | None
    examples: PositiveInt | None
    warmup: Annotated[int | str, BeforeValidator(warm_up)]  # steps, or a share of the run
    schedule: Literal["cosine", "linear", "constant"]
    loss: Literal["softmax", "sigmoid"]
    smoothing: Fraction  # of the labels: this share of each target is spread evenly over the classes
    augment: Augment
    clip: PositiveFloat | None  # bound of the gradient's global norm
    ema: Fraction | None  # decay of the Polyak average of the weights
    seed: NonNegativeInt
    micro_batch: PositiveInt | Literal["auto"]
    save_minutes: NonNegativeFloat
    bad_images: Fraction  # of the training images that may be unreadable: the next one stands in for each

    how = (*Running.how, "micro_batch", "save_minutes", "bad_images")

    def __post_init__(self):
        check_trainable(self.data)
        given = [name for name in DURATIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a run has one duration, not {len(given)}: give one of {', '.join(DURATIONS)}")
        if self.steps and isinstance(self.warmup, int) and self.warmup >= self.steps:
            raise ValueError(f"warmup={self.warmup} leaves nothing of steps={self.steps}: the warm-up must be shorter")
        if isinstance(self.micro_batch, int) and self.batch % self.micro_batch:
            raise ValueError(f"batch={self.batch} is not a multiple of micro_batch={self.micro_batch}")


@recipe
class Pretrain(Training):
    """Train a model from scratch."""

    model: Model
    objective: Objective
    head_bias: float | None  # of the head at first; none for what suits the loss
    exclude: tuple[str, ...]  # dedup runs, or files of keys, whose training images are left out
    fewshot: Probe

    def __post_init__(self):
        super().__post_init__()
        check_probe(self.fewshot)
        if not self.model.name:
            raise ValueError("model=timm needs an architecture: add model.name=NAME, any that timm.list_models() has")
        if isinstance(self.model, ViT) and self.res and (why := self.model.misfit(self.res)):
            raise ValueError(why)
        if not isinstance(self.objective, Labels):
            self.check_unlabelled()

    def check_unlabelled(self) -> None:
        """A ValueError where something needs labels, or the model has no patches to mask."""
        kind = self.objective.kind
        if not isinstance(self.model, ViT) or self.model.stem:
            raise ValueError(
                f"objective={kind} masks patches of the image, which {self.model.name} has none of: choose a pure "
                "vision transformer, as model=vit_b16"
            )
        without = {"smoothing": 0, "augment.mixup": 0, "head_bias": None}
        given = {"smoothing": self.smoothing, "augment.mixup": self.augment.mixup, "head_bias": self.head_bias}
        for option, value in without.items():
            if given[option] != value:
                raise ValueError(f"{option}={given[option]} is for labels, and objective={kind} has none: leave it out")


@recipe
class Finetune(Training):
    """Adapt pretrained weights to a data set."""

    init: str


@recipe
class Fewshot(Running):
    """Measure frozen features with a linear classifier: closed-form on a few images a class, or trained on all."""

    init: str
    data: Data
    bad_images: Literal["stop", "skip"]  # what an unreadable image does
    probe: Literal["ridge", "linear"]
    layers: tuple[NonNegativeInt | Literal["last", "all"], ...]  # of probe=linear; last is what the head reads
    linear: Linear
    shots: tuple[PositiveInt, ...]
    seeds: tuple[NonNegativeInt, ...]
    l2: tuple[PositiveFloat, ...]  # each draw takes the best of several, by training images that it does not hold

    def __post_init__(self):
        check_trainable(self.data)
        check_layers(self.probe, self.layers)


@recipe
class Eval(Running):
    """Count how often a model's answers on a test set are right."""

    init: str
    data: Data
    bad_images: Literal["stop", "skip"]  # what an unreadable image does
    dedup: str | None  # a dedup run against this test set, without whose duplicates to count too


@recipe
class Dedup(Running):
    """Find the test images that a training set holds too."""

    data: Data  # whose training images are searched
    against: Data  # whose test images are looked for; none for those of ``data``
    distance: Annotated[int, Field(ge=0, le=64)]  # bits of 128 in which the hashes of near-duplicates differ at most
    init: str | None  # weights whose features are compared too; none for hashes alone
    similarity: Annotated[float, Field(gt=0, le=1)]  # least cosine of the features of near-duplicates

    def __post_init__(self):
        check_trainable(self.data)


@recipe
class Compare:
    """Show finished runs beside the paper's published numbers."""

    runs: Path
    verbs: tuple[Literal["pretrain", "finetune", "fewshot", "eval"], ...]  # whose results are shown
    rows: tuple[str, ...]  # options that tell the rows apart
    columns: tuple[str, ...]  # options that tell the columns apart
    values: tuple[str, ...]  # names in a result; each is a column of its own
    paper: Literal["table2", "none"]
    save: Path  # where the table goes, as .csv and .json


@recipe
class Quickstart:
    """Run the whole chain with a small model on the embedded data, in minutes."""

    runs: Path


@recipe
class Export:
    """Write weights in the form that another library reads."""

    init: str
    to: Literal["timm", "hf", "npz", "onnx"]
    path: Path | None  # none for the name of the model, here
    runs: Path


@recipe
class Models:
    """List the models, with their sizes at a resolution."""

    res: PositiveInt
    classes: PositiveInt
    sort: Literal["name", "parameters", "gmac"]
    only: tuple[str, ...]  # shown are the rows whose name or kind has one of these in it; all where there is none


@recipe
class DataSets:
    """List the data sets, with their sizes and where they come from; or tell what is in a folder."""

    only: tuple[str, ...]  # shown are the rows whose name has one of these in it; all where there is none
    path: Path | None  # a folder of images to describe instead
    root: Path | None  # a folder of VTAB's originals to check instead, each in one named after its TFDS builder
    save: Path  # where the keys of VTAB-1k's images go, as JSON


DURATIONS = ("steps", "epochs", "examples")
RECIPES = {
    "pretrain": Pretrain,
    "finetune": Finetune,
    "fewshot": Fewshot,
    "eval": Eval,
    "dedup": Dedup,
    "compare": Compare,
    "export": Export,
    "quickstart": Quickstart,
    "models": Models,
    "data": DataSets,
}
