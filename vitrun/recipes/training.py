"""Options of the commands that train a network."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat

from vitrun.errors import UserError
from vitrun.recipes import trees
from vitrun.recipes.base import Batch, Fraction, OptionError, Rounds, Seed, Steps, frozen_dataclass
from vitrun.recipes.data import UNLABELLED, Data, set_group
from vitrun.recipes.data_checks import check_trainable, count_train_images
from vitrun.recipes.optimizer import Optim
from vitrun.recipes.option_values import parse_bad_images, parse_interval, parse_on_nan, parse_steps_or_share
from vitrun.recipes.probe import OnlineEval
from vitrun.recipes.pseudo import Pseudo, check_pseudo
from vitrun.recipes.run_recipe import RunRecipe
from vitrun.recipes.view import RECTANGLES, Augment

DURATIONS = ("steps", "epochs", "examples")
WITHOUT_LABELS = {  # options of labels, with the values that are none
    "smoothing": 0,
    "augment.mixup": 0,
    "augment.cutmix": 0,
    "head_bias": None,
    "class_weights": "none",
    "sampler": "uniform",
    "generative": 0,
}


@frozen_dataclass
class Training(RunRecipe):
    """Options that pretraining and fine-tuning share."""

    protocol: str  # the published settings to follow
    data: Data  # the data set
    optim: Optim  # the optimizer
    # learning rate of all but the last layer, of a detector of its body (DETR's lr_backbone); null for optim.lr
    body_lr: PositiveFloat | None
    steps: Steps | None  # duration in steps; give one of steps, epochs and examples
    epochs: Annotated[float, Field(gt=0, le=10**6)] | None  # duration in passes over the training images
    examples: Annotated[int, Field(gt=0, le=10**15)] | None  # duration in training images
    # linear rise of the learning rate from 0: steps, or a share of the run
    warmup: Annotated[int | str, BeforeValidator(parse_steps_or_share)]
    schedule: Literal["cosine", "linear", "staircase", "constant", "rsqrt"]  # the learning rate after the warm-up
    schedule_end: NonNegativeFloat  # the final learning rate of a cosine or linear decay
    timescale: Steps  # steps after the warm-up in which rsqrt, 1 / sqrt(1 + steps / timescale), falls to 0.71
    # linear fall to 0 at the end of a rsqrt or constant rate: steps, or a share of the run; 0 for none
    cooldown: Annotated[int | str, BeforeValidator(parse_steps_or_share)]
    drops: tuple[Steps, ...]  # steps after which the learning rate of a staircase falls, by drop_factor
    # a staircase that falls at regular intervals: steps, or a share of the run as in 0.7%; null for drops
    drop_every: Annotated[int | str | None, BeforeValidator(parse_interval)]
    drop_factor: Annotated[float, Field(ge=1e-6, lt=1)]  # what a drop of a staircase multiplies the learning rate by
    loss: Literal["softmax", "sigmoid"]  # cross-entropy over the classes, or binary cross-entropy (BCE) of each
    smoothing: Fraction  # share of each target that is spread evenly over the classes
    class_weights: Literal["none", "balanced"]  # weight of an image's loss; balanced: the rarer its class, the higher
    sampler: Literal["uniform", "balanced"]  # images of a step: each image, or each class (balanced), equally often
    augment: Augment  # augmentation of training images beyond crop and flip
    clip: PositiveFloat | None  # maximum norm of the gradient of all parameters, timm's clip-grad; null for no clipping
    ema: Fraction | None  # decay of the average of the weights over steps, as in 0.9999; null for no average
    seed: Seed  # seed of every random draw
    # the model that labels the images of unlabelled= (Noisy Student): what init= takes; null for none
    teacher: str | None
    unlabelled: Data | None  # the data set whose training images the teacher labels; their own labels are not read
    pseudo: Pseudo  # the labels of the teacher
    rounds: Rounds  # students to train one after another, each a run; from the second on the one before is the teacher
    eval: OnlineEval  # evaluations during training: on images held out of training, or the test part if none are
    # weights in the result: those of the last step, or (best) of the best evaluation during training, beside the last
    keep: Literal["last", "best"]
    # images computed at once on a rank, auto for as many as fit, on a CPU for the fastest number that was measured;
    # where they do not divide the batch, the last are fewer
    micro_batch: Batch | Literal["auto"]
    # what is stored of a forward pass: everything (none), or the input of each block, which is computed again in the
    # backward pass (blocks): the same weights to the bit, in a fraction of the memory, for a third more computation
    checkpointing: Literal["none", "blocks"]
    # whether torch.compile makes the forward and backward pass of training: it takes minutes at the start;
    # auto for runs on a GPU that are long enough
    compile: bool | Literal["auto"]
    # what a rank of several has: a copy of the weights (ddp), or a part of the weights, gradients and optimizer state
    # (fsdp), which is gathered block by block, so that a network fits that is too large for one device
    mode: Literal["ddp", "fsdp"]
    # ranks that share a copy of the weights with mode=fsdp: null for all, node for those of a node (HSDP), or a number
    shard_ranks: Annotated[int, Field(ge=1, le=10**6)] | Literal["node"] | None
    # with --dry-run: devices elsewhere to plan for (conf/accelerator), as h100x8 or h200x64, without data, weights or
    # a device here; null for the device here
    on: str | None
    save_minutes: NonNegativeFloat  # minutes between two checkpoints
    # seconds that a rank waits in a step for another that hangs or gives no sign of life, before all of them stop
    rank_timeout: Annotated[float, Field(ge=1, le=7 * 86400)]
    # unreadable training images that are allowed, each replaced by the next: a number as in 3, or a share as in 0.001
    bad_images: Annotated[int | float, BeforeValidator(parse_bad_images)]
    # a batch whose loss or gradient is not finite: stop, or skip up to N such batches without an update, as in skip:3
    on_nan: Annotated[str, BeforeValidator(parse_on_nan)]

    execution_options: ClassVar[tuple[str, ...]] = (
        *RunRecipe.execution_options,
        "micro_batch",
        "checkpointing",
        "compile",
        "mode",
        "shard_ranks",
        "on",
        "save_minutes",
        "rank_timeout",
        "bad_images",
        "on_nan",
    )

    @property
    def holds_out(self) -> bool:
        """Return whether part of the training images is held out."""
        return False

    @property
    def max_skipped(self) -> int:
        """Return how many batches that are not finite may be skipped."""
        return int(self.on_nan.removeprefix("skip:")) if self.on_nan != "stop" else 0

    @property
    def images(self) -> int | None:
        """Return the number of images to train on; None if it is not known before they are opened."""
        return count_train_images(self.data)

    @property
    def step_images(self) -> int:
        """Return the images of a step on all ranks: those of ``batch``, and the unlabelled ones."""
        return self.batch * (1 + self.pseudo.ratio * (self.teacher is not None))

    def __post_init__(self) -> None:
        check_trainable(self.data)
        if self.unlabelled is not None:
            object.__setattr__(self, "unlabelled", set_group(self.unlabelled, UNLABELLED))
        check_pseudo(self)
        given = [name for name in DURATIONS if getattr(self, name) is not None]
        if len(given) != 1:
            why = f"A run has one duration, not {len(given)}: give one of {', '.join(DURATIONS)}."
            raise UserError(why, option=(given or DURATIONS)[0])
        self.check_schedule()
        if self.view.resize in RECTANGLES:
            why = "is for eval and predict: train with square, and test by vitrun eval init=RUN view.resize=..."
            raise OptionError("view.resize", self.view.resize, why)
        if self.body_lr is not None and self.optim.layer_decay < 1:
            why = "and optim.layer_decay both set learning rates of layers: keep one of them."
            raise OptionError("body_lr", self.body_lr, why)
        if self.keep == "best" and self.eval.every is None:
            why = "needs evaluations to choose by: add eval.every=10%, or a number of steps."
            raise OptionError("keep", self.keep, why)
        if self.class_weights == self.sampler == "balanced":
            raise OptionError(
                "class_weights", "balanced", "corrects for the same imbalance as sampler=balanced: keep one of them."
            )
        images = self.images
        if images or not self.epochs:
            self.count_steps(images or 0)
        if self.shard_ranks is not None and self.mode == "ddp":
            why = "has no effect without mode=fsdp: add that, or leave this out."
            raise OptionError("shard_ranks", self.shard_ranks, why)
        if isinstance(self.micro_batch, int) and self.micro_batch > self.step_images:
            most = f"batch={self.batch}" if self.teacher is None else f"the {self.step_images} images of a step"
            why = f"is more than {most}: choose at most that, or micro_batch=auto."
            raise OptionError("micro_batch", self.micro_batch, why)

    def check_schedule(self) -> None:
        """Raise an OptionError if the options of the learning rate contradict each other."""
        drops, schedule, end = list(self.drops), self.schedule, self.schedule_end
        if drops and schedule != "staircase":
            raise OptionError("drops", drops, f"has no effect with schedule={schedule}: add drops=[].")
        if self.drop_every is not None and (drops or schedule != "staircase"):
            why = "takes the place of drops: add drops=[]." if drops else f"has no effect with schedule={schedule}."
            raise OptionError("drop_every", self.drop_every, why)
        if schedule == "staircase" and not drops and self.drop_every is None:
            why = "needs the steps after which the learning rate falls: add drops=[STEP,STEP], or drop_every=STEPS."
            raise OptionError("schedule", schedule, why)
        if drops != sorted(set(drops)):
            raise OptionError("drops", drops, "must be increasing.")
        if self.cooldown and schedule not in ("rsqrt", "constant"):
            why = f"is for schedule=rsqrt or constant, and {schedule} has an end of its own: add cooldown=0."
            raise OptionError("cooldown", self.cooldown, why)
        if end and schedule not in ("cosine", "linear"):
            raise OptionError("schedule", schedule, "has no final learning rate: add schedule_end=0.")
        if end >= self.optim.lr:
            raise OptionError("schedule_end", end, f"must be below optim.lr={self.optim.lr:g}.")

    def check_no_label_options(self, what: str) -> None:
        """Raise an OptionError if an option is set that is for labels, which ``what`` has none of."""
        tree = trees.to_plain_tree(self)
        for option in WITHOUT_LABELS.keys() & set(trees.iterate_keys(tree)):
            if (given := trees.get_value(tree, option)) != WITHOUT_LABELS[option]:
                raise OptionError(option, given, f"is for labels, and {what} has none: leave it out.")

    def check_finds_objects(self) -> None:
        """Raise an OptionError if the data set has no boxes, or an option is set that is not for them."""
        if not getattr(self.data, "has_boxes", False):
            why = "has no boxes, which objective=detection needs: choose data=boxes or data=coco."
            raise OptionError("data", self.data.name, why)
        self.check_no_label_options("detection")
        if self.augment.layers:
            why = "moves objects out of their boxes: leave RandAugment out."
            raise OptionError("augment.layers", self.augment.layers, why)

    def count_steps(self, images: int) -> tuple[int, int]:
        """Return the steps of a run and of its warm-up, for epochs of ``images``.

        Raise an OptionError if the warm-up or a drop of the learning rate does not lie within the run.
        """
        if self.steps:
            steps, duration = self.steps, f"steps={self.steps}"
        else:
            steps = max(1, round((self.examples or (self.epochs or 0) * images) / self.batch))
            epoch = f"the {images:,} images not held out" if self.holds_out else f"{images:,} images"
            length = f"epochs={self.epochs:g} of {epoch}" if self.epochs else f"examples={self.examples}"
            duration = f"the {steps:,} step{'s' * (steps > 1)} of {length} in batches of {self.batch}"
        warmup = self.count_share(self.warmup, steps)
        if warmup >= steps:
            why = f"leaves no step of {duration}: make the run longer or the warm-up shorter, as in warmup=10%."
            raise OptionError("warmup", self.warmup, why)
        if self.drops and not warmup < self.drops[0] <= self.drops[-1] < steps:
            why = f"must lie between the {warmup} warm-up steps and the end of {duration}."
            raise OptionError("drops", self.drops, why)
        if warmup + self.count_share(self.cooldown, steps) > steps:
            why = f"is longer than what {warmup} warm-up steps leave of {duration}: shorten one, as in cooldown=5%."
            raise OptionError("cooldown", self.cooldown, why)
        return steps, warmup

    def count_drop_every(self, steps: int) -> float:
        """Return the steps between two drops of the learning rate in a run of ``steps``; 0 if there are none."""
        every = self.drop_every or 0
        return float(every[:-1]) / 100 * steps if isinstance(every, str) else every

    @staticmethod
    def count_share(part: int | str, steps: int) -> int:
        """Return the steps of a part of a run of ``steps``, which is a number or a share such as 10%."""
        return int(float(part[:-1]) / 100 * steps) if isinstance(part, str) else part
