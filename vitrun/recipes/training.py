"""What the commands are told that train a network."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from vitrun.recipes.base import Fraction, check_unique, frozen_dataclass
from vitrun.recipes.data import (
    VTAB_FINAL_PARTS,
    Data,
    Suite,
    Vtab,
    check_not_suite,
    check_trainable,
    count_held_out,
    count_train_images,
)
from vitrun.recipes.model import Model, ViT
from vitrun.recipes.objective import Objective
from vitrun.recipes.optimizer import DURATIONS, Optim, check_schedule, count_steps, parse_warmup
from vitrun.recipes.probe import OnlineProbe, check_online_probe
from vitrun.recipes.run_recipe import RunRecipe
from vitrun.recipes.view import Augment


@frozen_dataclass
class Training(RunRecipe):
    """What pretraining and fine-tuning share."""

    protocol: str  # whose recipe: a file of conf/protocol/<command>
    data: Data
    optim: Optim
    steps: PositiveInt | None  # the duration, in one of three units
    epochs: PositiveFloat | None
    examples: PositiveInt | None
    warmup: Annotated[int | str, BeforeValidator(parse_warmup)]  # steps, or a share of the run
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

    execution_options = (*RunRecipe.execution_options, "micro_batch", "save_minutes", "bad_images")

    @property
    def holds_out(self) -> bool:
        """Whether it trains without images that are held out."""
        return False

    @property
    def images(self) -> int | None:
        """The number of images it trains on, where that is known before they are opened."""
        return count_train_images(self.data)

    def __post_init__(self):
        check_trainable(self.data)
        given = [name for name in DURATIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a run has one duration, not {len(given)}: give one of {', '.join(DURATIONS)}")
        check_schedule(self)
        images = self.images
        if images or not self.epochs:
            count_steps(self, images or 0)
        if isinstance(self.micro_batch, int) and (rest := self.batch % self.micro_batch):
            raise ValueError(
                f"batch={self.batch} is not a multiple of micro_batch={self.micro_batch}: "
                f"{self.batch // self.micro_batch} times that leaves {rest}. "
                "Choose one that divides it, or micro_batch=auto"
            )


@frozen_dataclass
class Pretrain(Training):
    """Train a model from scratch."""

    model: Model
    objective: Objective
    head_bias: float | None  # of the head at first; none for what suits the loss
    exclude: tuple[str, ...]  # dedup runs, or files of keys, whose training images are left out
    fewshot: OnlineProbe

    def __post_init__(self):
        super().__post_init__()
        check_not_suite(self.data)
        check_online_probe(self.fewshot)
        if not self.model.name:
            raise ValueError("model=timm needs an architecture: add model.name=NAME, any that timm.list_models() has")
        if isinstance(self.model, ViT) and self.res and (why := self.model.explain_misfit(self.res)):
            raise ValueError(why)
        self.objective.check_model(self.model)
        if not self.objective.uses_labels:
            self.check_no_label_options()

    def check_no_label_options(self) -> None:
        """Raise ValueError if an option is set that only an objective with labels reads."""
        unset = {"smoothing": 0, "augment.mixup": 0, "head_bias": None}
        given = {"smoothing": self.smoothing, "augment.mixup": self.augment.mixup, "head_bias": self.head_bias}
        for option, value in unset.items():
            if given[option] != value:
                raise ValueError(
                    f"{option}={given[option]} is for labels, and objective={self.objective.kind} uses none: leave it out"
                )


@frozen_dataclass
class Finetune(Training):
    """Adapt pretrained weights to a data set."""

    init: str
    dropout: Fraction | None  # of a ViT; none for what its weights were trained with, or 0 where they do not tell
    grid: tuple[PositiveFloat, ...]  # learning rates to choose from on the held-out part; none for that of ``optim``
    decays: tuple[NonNegativeFloat, ...]  # weight decays to choose from too; none for that of ``optim``
    dev: Fraction  # of the training images held out; VTAB's tasks have 200 of their own
    seeds: tuple[NonNegativeInt, ...]  # of the final runs; none for ``seed`` alone
    score: Literal["test", "dev"]  # the images that are counted: of the test part, or those held out

    @property
    def holds_out(self) -> bool:
        """Whether it trains without images that are held out; one with a grid is as its final runs, on all."""
        return bool(self.dev and not self.grid) or isinstance(self.data, Vtab) and self.data.test == "val200"

    @property
    def images(self) -> int | None:
        """The number of images it trains on, where that is known; a ValueError where all are held out."""
        images = super().images
        return images - count_held_out(images, self.dev) if images and self.dev and not self.grid else images

    def __post_init__(self):
        super().__post_init__()
        for key in ("grid", "decays", "seeds"):
            check_unique(key, getattr(self, key))
        if self.seeds and self.seed:
            raise ValueError(
                f"seeds=[{','.join(map(str, self.seeds))}] are those of the runs: take out seed={self.seed}"
            )
        if self.grid and self.schedule_end >= min(self.grid):
            raise ValueError(f"schedule_end={self.schedule_end:g} is not below {min(self.grid):g} of the grid")
        self.check_held_out()

    def check_held_out(self):
        """A ValueError where the images to choose on are not there, or not known to be those of VTAB."""
        vtab = isinstance(self.data, Vtab | Suite)
        if vtab and self.dev:
            raise ValueError(f"dev={self.dev:g} cannot be: each task of VTAB has 200 images of its own to choose on")
        if self.decays and not self.grid:
            raise ValueError("decays are tried with learning rates: add grid=, those to choose from")
        if self.grid and not vtab and not self.dev:
            raise ValueError("grid needs images to choose on: add their share of the training images, as in dev=0.02")
        if self.grid and isinstance(self.data, Vtab) and (self.data.train, self.data.test) != VTAB_FINAL_PARTS:
            raise ValueError("grid chooses on val200 by itself: take out data.train and data.test")
        if self.score == "dev" and (self.grid or self.seeds or not self.holds_out):
            raise ValueError("score=dev is for one run that holds images out: add dev=SHARE, take out grid and seeds")
