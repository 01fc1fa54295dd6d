"""What each verb can be told: the shape of a recipe, and nothing about how it is read. Values live in ``conf/``."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

recipe = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))

Fraction = Annotated[float, Field(ge=0, lt=1)]


def warm_up(value: object) -> object:
    """A number of steps, or a share of the run from 0% to 100%."""
    share = re.fullmatch(r"(\d+(\.\d+)?)%", value) if isinstance(value, str) else None
    if share and float(share[1]) <= 100 or isinstance(value, int) and value >= 0:
        return value
    raise ValueError(f"warmup={value} cannot be: it should be a number of steps, or a share of the run as in 10%")


@recipe
class ViT:
    """A vision transformer, or with the ``stem`` of a ResNet before it a hybrid."""

    kind: Literal["vit"]
    name: str
    patch: PositiveInt  # side of a patch in pixels; of the ResNet's feature map where there is one
    width: PositiveInt
    depth: PositiveInt
    heads: PositiveInt
    mlp: PositiveInt
    stem: NonNegativeInt  # channels of the stem of the ResNet before the transformer; 0 for a pure ViT
    resnet: tuple[PositiveInt, ...]  # blocks a stage of that ResNet; a stem alone has no stages
    head: Literal["token", "gap", "map"]
    pre_logits: bool
    positions: Literal["learned", "none", "2d", "relative", "sincos2d"]
    positions_at: Literal["stem", "every", "shared"]
    dropout: Fraction
    stochastic_depth: Fraction

    def __post_init__(self):
        if self.width % self.heads:
            raise ValueError(f"model.width={self.width} is not a multiple of model.heads={self.heads}")
        parts = {"2d": 2, "sincos2d": 4}.get(self.positions, 1)  # a row and a column, a sine and a cosine of each
        if self.width % parts:
            raise ValueError(f"model.width={self.width} is not a multiple of {parts}, as {self.positions} needs")
        if self.stem % 32:
            raise ValueError(f"model.stem={self.stem} is not a multiple of 32, the groups of its normalisation")
        if self.resnet and not self.stem:
            raise ValueError("model.resnet needs a stem: set model.stem=64, or model.resnet=[]")

    @property
    def stride(self) -> int:
        """The pixels along a side of a token."""
        return self.patch * (4 * 2 ** max(len(self.resnet) - 1, 0) if self.stem else 1)

    def misfit(self, res: int) -> str | None:
        """Why images of ``res`` pixels cannot be cut into tokens, with the two nearest sizes that can; or None."""
        if res % self.stride == 0:
            return None
        below, above = res - res % self.stride, res - res % self.stride + self.stride
        near = f"{below} and {above}" if below else f"{above} and {above + self.stride}"
        return f"res={res} is no multiple of {self.stride}, the stride of {self.name}. The nearest that fit: {near}."


@recipe
class BiT:
    """A pre-activation ResNet with group norm and weight standardisation (arXiv 1912.11370)."""

    kind: Literal["bit"]
    name: str
    blocks: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
    width_factor: PositiveFloat
    border: Literal["zero", "none"]  # what the stem's max-pool sees around the image: big_transfer and timm, big_vision


@recipe
class Timm:
    """Any architecture that timm knows, as a baseline."""

    kind: Literal["timm"]
    name: str


Model = Annotated[ViT | BiT | Timm, Field(discriminator="kind")]


@recipe
class Images:
    """What every data set is told: its name, and what a training image of it looks like."""

    name: str
    crop: Literal["inception", "pad", "square", "none"]
    area: tuple[PositiveFloat, PositiveFloat]  # shares of the image that an inception crop takes
    flip: bool

    def __post_init__(self):
        low, high = self.area
        if not low <= high <= 1:
            raise ValueError(f"data.area=[{low},{high}] cannot be: it should go up, to 1 at most, as in [0.05,1]")


@recipe
class Shapes(Images):
    """Images drawn by a seeded generator, so that a first run needs no download."""

    source: Literal["shapes"]
    target: Literal["shape", "colour", "count", "position", "orientation"]  # what the label tells
    size: Annotated[int, Field(ge=16, le=1024)]  # side of a drawn image, in pixels
    train_images: PositiveInt
    test_images: PositiveInt


@recipe
class Digits(Images):
    """scikit-learn's 1,797 scanned handwritten digits, 8 by 8 pixels."""

    source: Literal["digits"]
    test_images: PositiveInt


@recipe
class Published(Images):
    """What is known of a data set before it is opened; none where only its source knows."""

    classes: PositiveInt | None
    train_images: PositiveInt | None
    test_images: PositiveInt | None
    licence: str | None
    paper: str | None  # what the paper (arXiv 2010.11929) calls it
    home: str | None  # the page where it comes from


@recipe
class Files(Published):
    """Images on the Hub, or in ``path``: the Hub's parquet layout, or a folder a class."""

    source: Literal["files"]
    path: Path | None
    hub: str | None
    config: str | None
    revision: str | None
    image: str  # the column of images
    label: str  # the column of labels
    labels: Literal["original", "real", "imagenet_a", "imagenet_r", "objectnet"]  # how they are read
    real: Path | None  # a file of ReaL's labels; none for the data set's own or the published ones
    train: str | None  # what the source calls its training split; none where it is for evaluation only
    test: str

    def __post_init__(self):
        super().__post_init__()
        if self.path is None and self.hub is None:
            home = f", with the images of {self.home}" if self.home else ""
            raise ValueError(f"data={self.name} needs to know where the images are: add data.path=FOLDER{home}")
        if self.real is not None and self.labels != "real":
            raise ValueError(f"data.real={self.real} is read with data.labels=real only: add that")


def on_the_net(pattern: str) -> bool:
    """Whether a pattern of shards names addresses, and not files."""
    return pattern.startswith(("http://", "https://"))


@recipe
class Shards(Published):
    """Tar shards in WebDataset's layout: files in ``path``, or addresses on the net, whose files are kept there."""

    source: Literal["shards"]
    path: Path | None  # none for a folder in the user's cache
    train: str  # the training shards: a file or an address with {000..127}, or files with *
    test: str
    label: str  # "cls" for the member of that name; any other name is a field of the json member
    buffer: PositiveInt  # images that are shuffled together: more is better mixed, fewer touch fewer shards at a time

    def __post_init__(self):
        super().__post_init__()
        for key, pattern in (("train", self.train), ("test", self.test)):
            if self.path is None and not on_the_net(pattern):
                raise ValueError(
                    f"data={self.name} needs to know where the shards are: add data.path=FOLDER, or an address as in "
                    f"data.{key}=https://HOST/NAME-{{000..127}}.tar"
                )
        if self.classes is None:
            raise ValueError(f"data={self.name} needs to know the number of classes: add data.classes=NUMBER")


@recipe
class Vtab(Images):
    """A task of VTAB-1k, read from its original files."""

    source: Literal["vtab"]
    task: str
    path: Path | None  # the folder of this task's original
    root: Path | None  # the folder of all originals, each in one named after its TFDS builder; ``path`` wins
    protocol: Literal["vit", "vpt"]  # whose training view: the ViT paper's, or that of visual prompt tuning
    train: str
    test: str

    def __post_init__(self):
        super().__post_init__()
        if self.path is None and self.root is None:
            raise ValueError(
                f"data={self.name} needs to know where its original is: add data.path=FOLDER, or data.root=FOLDER that "
                "holds a folder for each original of VTAB"
            )
        for key, parts in VTAB_PARTS.items():
            if getattr(self, key) not in parts:
                raise ValueError(f"data.{key}={getattr(self, key)} cannot be: it should be {' or '.join(parts)}")
        if (self.train, self.test) == ("train800val200", "val200"):
            raise ValueError("data.test=val200 is trained on: add data.train=train800")
        if self.protocol == "vpt" and (self.crop != "none" or self.flip):
            raise ValueError("data.protocol=vpt squares the whole image: take out data.crop and data.flip")


VTAB_PARTS = {"train": ("train800val200", "train800"), "test": ("test", "val200")}
Data = Annotated[Shapes | Digits | Files | Shards | Vtab, Field(discriminator="source")]


def check_trainable(data: Data) -> None:
    """A ValueError where the data set is for evaluation only."""
    if isinstance(data, Files) and (data.train is None or data.labels != "original"):
        why = "it has" if data.train is None else f"with data.labels={data.labels} there are"
        raise ValueError(f"data={data.name} is for vitrun eval only: {why} no training images")


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
    exclude: tuple[str, ...]  # dedup runs, or files of keys, whose training images are left out

    def __post_init__(self):
        super().__post_init__()
        if not self.model.name:
            raise ValueError("model=timm needs an architecture: add model.name=NAME, any that timm.list_models() has")
        if isinstance(self.model, ViT) and self.res and (why := self.model.misfit(self.res)):
            raise ValueError(why)


@recipe
class Finetune(Training):
    """Adapt pretrained weights to a data set."""

    init: str


@recipe
class Fewshot(Running):
    """Measure frozen features with a closed-form linear classifier on a few images a class."""

    init: str
    data: Data
    bad_images: Literal["stop", "skip"]  # what an unreadable image does
    shots: tuple[PositiveInt, ...]
    seeds: tuple[NonNegativeInt, ...]
    l2: PositiveFloat
    crop: Annotated[float, Field(gt=0, le=1)]  # share of the squared image's side that the centre crop keeps

    def __post_init__(self):
        check_trainable(self.data)


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
