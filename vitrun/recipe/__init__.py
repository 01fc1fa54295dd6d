"""What each verb can be told: the shape of a recipe, and nothing about how it is read. Values live in ``conf/``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from vitrun.recipe.data import (
    VTAB_WHOLE,
    Data,
    Digits,
    Files,
    Images,
    Published,
    Shapes,
    Shards,
    Suite,
    Vtab,
    check_single,
    check_trainable,
    known_images,
    on_the_net,
)
from vitrun.recipe.model import BiT, Model, Timm, ViT
from vitrun.recipe.objective import Labels, Masked, Objective, SimMim
from vitrun.recipe.optim import DURATIONS, Adam, Optim, Sgd, check_schedule, lengths, warm_up
from vitrun.recipe.part import Fraction, recipe
from vitrun.recipe.probe import Linear, Probe, check_layers, check_probe
from vitrun.recipe.view import Augment, View

__all__ = ["Adam", "Augment", "BiT", "Data", "Digits", "Files", "Images", "Labels", "Linear", "Masked", "Model"]
__all__ += ["Probe", "Published", "Sgd", "Shapes", "Shards", "SimMim", "Suite", "Timm", "ViT", "View", "Vtab"]
__all__ += ["check_single", "check_trainable", "lengths", "on_the_net"]


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

    protocol: str  # whose recipe: a file of conf/protocol/<verb>
    data: Data
    optim: Optim
    steps: PositiveInt | None  # the duration, in one of three units
    epochs: PositiveFloat | None
    examples: PositiveInt | None
    warmup: Annotated[int | str, BeforeValidator(warm_up)]  # steps, or a share of the run
    schedule: Literal["cosine", "linear", "staircase", "constant"]
    schedule_end: NonNegativeFloat  # the learning rate that a cosine or linear decay ends at
    drops: tuple[PositiveInt, ...]  # steps of a staircase, after each of which the learning rate falls to a tenth
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
        check_schedule(self)
        images = known_images(self.data)
        if images or not self.epochs:
            lengths(self, images or 0)
        if isinstance(self.micro_batch, int) and (rest := self.batch % self.micro_batch):
            raise ValueError(
                f"batch={self.batch} is not a multiple of micro_batch={self.micro_batch}: "
                f"{self.batch // self.micro_batch} times that leaves {rest}"
            )


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
        check_single(self.data)
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
    grid: tuple[PositiveFloat, ...]  # learning rates to choose from on the held-out part; none for that of ``optim``
    dev: Fraction  # of the training images held out; VTAB's tasks have 200 of their own
    seeds: tuple[NonNegativeInt, ...]  # of the final runs; none for ``seed`` alone
    score: Literal["test", "dev"]  # the images that are counted: of the test part, or those held out

    def __post_init__(self):
        super().__post_init__()
        for key in ("grid", "seeds"):
            if repeated := [value for value in getattr(self, key) if getattr(self, key).count(value) > 1]:
                raise ValueError(f"{key} has {repeated[0]} twice: keep one")
        self.check_protocol()
        self.check_held_out()

    def check_protocol(self):
        """A ValueError where the protocol is VTAB's and the data are not, or the other way round."""
        vtab = isinstance(self.data, Vtab | Suite)
        if self.protocol == "paper" and vtab:
            raise ValueError(f"protocol=paper has a row of its own for VTAB: choose protocol=vit for {self.data.name}")
        if self.protocol in ("vit", "vpt") and not vtab:
            raise ValueError(f"protocol={self.protocol} is for VTAB, as data=vtab/pets: choose protocol=paper here")

    def check_held_out(self):
        """A ValueError where the images to choose on are not there, or not known to be those of VTAB."""
        if isinstance(self.data, Suite) and self.data.root is None:
            raise ValueError(f"data={self.data.name} needs to know where the originals are: add data.root=FOLDER")
        vtab = isinstance(self.data, Vtab | Suite)
        if vtab and self.dev:
            raise ValueError(f"dev={self.dev:g} cannot be: each task of VTAB has 200 images of its own to choose on")
        if self.grid and not vtab and not self.dev:
            raise ValueError("grid needs images to choose on: add their share of the training images, as in dev=0.02")
        if self.grid and isinstance(self.data, Vtab) and (self.data.train, self.data.test) != VTAB_WHOLE:
            raise ValueError("grid chooses on val200 by itself: take out data.train and data.test")
        held = self.dev or isinstance(self.data, Vtab) and self.data.test == "val200"
        if self.score == "dev" and (self.grid or self.seeds or not held):
            raise ValueError("score=dev is for one run that holds images out: add dev=SHARE, take out grid and seeds")


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
        check_single(self.data)
        check_trainable(self.data)
        check_layers(self.probe, self.layers)


@recipe
class Eval(Running):
    """Count how often a model's answers on a test set are right."""

    init: str
    data: Data
    bad_images: Literal["stop", "skip"]  # what an unreadable image does
    dedup: str | None  # a dedup run against this test set, without whose duplicates to count too

    def __post_init__(self):
        check_single(self.data)


@recipe
class Dedup(Running):
    """Find the test images that a training set holds too."""

    data: Data  # whose training images are searched
    against: Data  # whose test images are looked for; none for those of ``data``
    distance: Annotated[int, Field(ge=0, le=64)]  # bits of 128 in which the hashes of near-duplicates differ at most
    init: str | None  # weights whose features are compared too; none for hashes alone
    similarity: Annotated[float, Field(gt=0, le=1)]  # least cosine of the features of near-duplicates

    def __post_init__(self):
        check_single(self.data)
        check_single(self.against)
        check_trainable(self.data)


PublishedTable = Literal[  # a file each of vitrun/published
    "table2", "table5", "table6", "table7", "table8", "vtab", "replications", "augreg", "timm", "better_vit",
    "pretraining", "masked", "bit", "baselines", "none",
]  # fmt: skip


@recipe
class Compare:
    """Show finished runs beside the paper's published numbers."""

    runs: Path
    verbs: tuple[Literal["pretrain", "finetune", "fewshot", "eval"], ...]  # whose results are shown
    rows: tuple[str, ...]  # what tells the rows apart; of these three none is as the published table has it
    columns: tuple[str, ...]  # what tells the columns apart
    values: tuple[str, ...]  # names in a result; each is a row of its own
    paper: PublishedTable
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

    name: str | None  # the row to show, ``vtab`` for VTAB's nineteen; none for all
    data: Data | None  # the options of that data set where its images are looked into; none where its row is shown
    save: Path  # where the keys of VTAB-1k's images go, as JSON


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
