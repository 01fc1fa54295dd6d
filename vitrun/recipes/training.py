"""The recipes of the commands that train a network."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from vitrun.errors import UserError
from vitrun.recipes.base import Fraction, OptionError, check_unique, frozen_dataclass
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
from vitrun.recipes.optimizer import Optim
from vitrun.recipes.probe import OnlineProbe
from vitrun.recipes.run_recipe import RunRecipe
from vitrun.recipes.schedule import DURATIONS, check_schedule, count_steps, parse_warmup
from vitrun.recipes.view import Augment


@frozen_dataclass
class Training(RunRecipe):
    """The options that pretraining and fine-tuning share."""

    protocol: str  # a file of conf/protocol/<command>
    data: Data
    optim: Optim
    steps: PositiveInt | None  # the duration, in one of three units
    epochs: PositiveFloat | None
    examples: PositiveInt | None
    warmup: Annotated[int | str, BeforeValidator(parse_warmup)]  # steps, or a share of the run
    schedule: Literal["cosine", "linear", "staircase", "constant"]
    schedule_end: NonNegativeFloat  # the final learning rate of a cosine or linear decay
    drops: tuple[PositiveInt, ...]  # steps after which the learning rate of a staircase falls to a tenth
    loss: Literal["softmax", "sigmoid"]
    smoothing: Fraction  # share of each target that is spread evenly over the classes
    augment: Augment
    clip: PositiveFloat | None  # maximum global norm of the gradient
    ema: Fraction | None  # decay of the Polyak average of the weights
    seed: NonNegativeInt
    micro_batch: PositiveInt | Literal["auto"]
    save_minutes: NonNegativeFloat
    bad_images: Fraction  # maximum share of unreadable training images; each is replaced by the next

    execution_options = (*RunRecipe.execution_options, "micro_batch", "save_minutes", "bad_images")

    @property
    def holds_out(self) -> bool:
        """Return whether part of the training images is held out."""
        return False

    @property
    def images(self) -> int | None:
        """Return the number of images to train on; None if it is not known before they are opened."""
        return count_train_images(self.data)

    def __post_init__(self):
        check_trainable(self.data)
        given = [name for name in DURATIONS if getattr(self, name) is not None]
        if len(given) != 1:
            why = f"A run has one duration, not {len(given)}: give one of {', '.join(DURATIONS)}."
            raise UserError(why, option=(given or DURATIONS)[0])
        check_schedule(self)
        images = self.images
        if images or not self.epochs:
            count_steps(self, images or 0)
        if isinstance(self.micro_batch, int) and (rest := self.batch % self.micro_batch):
            why = f"must divide batch={self.batch}, but leaves {rest}: choose a divisor, or micro_batch=auto."
            raise OptionError("micro_batch", self.micro_batch, why)


@frozen_dataclass
class Pretrain(Training):
    """Train a model from scratch."""

    model: Model
    objective: Objective
    head_bias: float | None  # initial bias of the head; None for the one that suits the loss
    exclude: tuple[str, ...]  # dedup runs, or files of keys, whose training images are excluded
    fewshot: OnlineProbe

    def __post_init__(self):
        super().__post_init__()
        check_not_suite(self.data)
        if not self.model.name:
            why = "needs an architecture: add model.name=NAME, any of timm.list_models()."
            raise OptionError("model", "timm", why)
        if isinstance(self.model, ViT) and self.res:
            self.model.check_resolution(self.res)
        self.objective.check_model(self.model)
        if not self.objective.uses_labels:
            self.check_no_label_options()

    def check_no_label_options(self) -> None:
        """Raise an OptionError if an option is set that only an objective with labels reads."""
        unset = {"smoothing": 0, "augment.mixup": 0, "head_bias": None}
        given = {"smoothing": self.smoothing, "augment.mixup": self.augment.mixup, "head_bias": self.head_bias}
        for option, value in unset.items():
            if given[option] != value:
                why = f"is for labels, and objective={self.objective.kind} has none: leave it out."
                raise OptionError(option, given[option], why)


@frozen_dataclass
class Finetune(Training):
    """Adapt pretrained weights to a data set."""

    init: str
    dropout: Fraction | None  # of a ViT; None for that of its pretraining, or 0 if it is not known
    grid: tuple[PositiveFloat, ...]  # learning rates to choose from on the held-out part; empty for that of ``optim``
    decays: tuple[NonNegativeFloat, ...]  # weight decays to choose from; empty for that of ``optim``
    dev: Fraction  # share of the training images held out; the tasks of VTAB have 200 of their own
    seeds: tuple[NonNegativeInt, ...]  # of the final runs; empty for ``seed`` alone
    score: Literal["test", "dev"]  # the images to evaluate on: the test part, or those held out

    @property
    def holds_out(self) -> bool:
        """Return whether part of the training images is held out; the final runs of a grid train on all."""
        return bool(self.dev and not self.grid) or isinstance(self.data, Vtab) and self.data.test == "val200"

    @property
    def images(self) -> int | None:
        """Return the number of images to train on, or None; raise an OptionError if all are held out."""
        images = super().images
        return images - count_held_out(images, self.dev) if images and self.dev and not self.grid else images

    def __post_init__(self):
        super().__post_init__()
        for key in ("grid", "decays", "seeds"):
            check_unique(key, getattr(self, key))
        if self.seeds and self.seed:
            raise OptionError("seed", self.seed, "has no effect beside seeds: leave one of the two out.")
        if self.grid and self.schedule_end >= min(self.grid):
            why = f"must be below {min(self.grid):g}, the lowest learning rate of the grid."
            raise OptionError("schedule_end", self.schedule_end, why)
        self.check_held_out()

    def check_held_out(self):
        """Raise an OptionError if a search or ``score=dev`` has no held-out images, or VTAB's would not be used."""
        vtab = isinstance(self.data, Vtab | Suite)
        if vtab and self.dev:
            raise OptionError("dev", self.dev, "must be 0: each task of VTAB has 200 held-out images of its own.")
        if self.decays and not self.grid:
            raise OptionError("decays", self.decays, "needs learning rates to search with: add grid=[LR,LR].")
        if self.grid and not vtab and not self.dev:
            raise OptionError("grid", self.grid, "needs held-out images: add their share, as in dev=0.02.")
        if self.grid and isinstance(self.data, Vtab) and (self.data.train, self.data.test) != VTAB_FINAL_PARTS:
            raise OptionError("grid", self.grid, "searches on val200 itself: leave out data.train and data.test.")
        if self.score == "dev" and (self.grid or self.seeds or not self.holds_out):
            why = "is for a single run that holds images out: add dev=SHARE, leave out grid and seeds."
            raise OptionError("score", self.score, why)
