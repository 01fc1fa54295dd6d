"""Recipe of ``vitrun finetune``."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat

from vitrun.recipes.base import Fraction, OptionError, Seed, check_unique, frozen_dataclass
from vitrun.recipes.data_checks import check_has_labels, count_held_out
from vitrun.recipes.detection import Detect
from vitrun.recipes.option_values import parse_train
from vitrun.recipes.training import Training
from vitrun.recipes.vtab import VTAB_FINAL_PARTS, Suite, Vtab

MAX_POINTS = 1_000  # of a grid


@frozen_dataclass
class Finetune(Training):
    """Adapt pretrained weights to a data set."""

    init: str  # pretrained weights: latest, a run, a file, a folder, timm:TAG, hf:ORG/NAME or random:MODEL
    init_weights: str  # which of several: auto (best if kept, else the averaged), best, ema, plain, or their name
    train: Annotated[str, BeforeValidator(parse_train)]  # parameters to train: all, head, or last:N blocks and the head
    # parts to leave as they are, beside what train= leaves: names of modules or patterns, as in [conv_stem,blocks.0]
    freeze: tuple[str, ...]
    # rate in a ViT, before the head of a ResNet or of timm; null for that of the pretraining, or 0 if it is not known
    dropout: Fraction | None
    stochastic_depth: Fraction | None  # rate at which the last block is skipped, in the same networks; null as above
    # the last layer: new, of zeros, or that of the weights, whose classes must be those of the data set (keep)
    head: Literal["new", "keep"]
    # weight of the loss of each pixel's colour beside that of the labels, as ImageGPT is fine-tuned with 1; 0 for none
    generative: Annotated[NonNegativeFloat, Field(le=1000)]
    detect: Detect  # of a data set with boxes, for which the weights become a detector
    grid: tuple[PositiveFloat, ...]  # learning rates to choose from on the held-out images; [] for optim.lr alone
    decays: tuple[NonNegativeFloat, ...]  # weight decays to choose from; [] for optim.weight_decay alone
    dev: Fraction  # share of the training images that is held out; each task of VTAB has 200 of its own
    seeds: tuple[Seed, ...]  # seeds of several final runs, whose results are averaged; [] for seed alone
    score: Literal["test", "dev"]  # the images to evaluate on: the test part, or those held out

    @property
    def holds_out(self) -> bool:
        """Return whether part of the training images is held out; the final runs of a grid train on all."""
        return bool(self.dev and not self.grid) or isinstance(self.data, Vtab) and self.data.test == "val200"

    @property
    def detects(self) -> bool:
        """Return whether the network is to find objects: whether the data set has boxes."""
        return bool(getattr(self.data, "has_boxes", False))

    @property
    def images(self) -> int | None:
        """Return the number of images to train on, or None; raise an OptionError if all are held out."""
        images = super().images
        return images - count_held_out(images, self.dev) if images and self.dev and not self.grid else images

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.detects:
            self.check_finds_objects()
        else:
            check_has_labels(self.data, "vitrun finetune")
        for key in ("grid", "decays", "seeds", "freeze"):
            check_unique(key, getattr(self, key))
        if (points := len(self.grid) * max(1, len(self.decays))) > MAX_POINTS:
            raise OptionError("grid", self.grid, f"makes {points:,} runs with decays: at most {MAX_POINTS}.")
        if self.rounds > 1 and (self.grid or self.seeds):
            why = "repeats a single run: leave out grid and seeds, and add the learning rate, as in optim.lr=0.01."
            raise OptionError("rounds", self.rounds, why)
        if self.head == "keep" and self.init.startswith("random:"):
            raise OptionError(
                "head", self.head, f"needs trained weights, and init={self.init} is untrained: add head=new."
            )
        if self.seeds and self.seed:
            raise OptionError("seed", self.seed, "has no effect if seeds are given: leave one of the two out.")
        if self.grid and self.schedule_end >= min(self.grid):
            why = f"must be below {min(self.grid):g}, the lowest learning rate of the grid."
            raise OptionError("schedule_end", self.schedule_end, why)
        self.check_held_out()

    def check_held_out(self) -> None:
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
