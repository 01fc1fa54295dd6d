"""What a data set is told: the row of ``conf/data`` that describes it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from vitrun.recipes.base import frozen_dataclass

Part = Literal["train", "test"]
Crop = Literal["inception", "random_resized", "pad", "square", "small_square", "none"]


@frozen_dataclass
class Dataset:
    """What every data set is told: its name, and what a training image of it looks like."""

    name: str
    crop: Crop
    area: tuple[PositiveFloat, PositiveFloat]  # shares of the image that an inception or random_resized crop takes
    flip: bool

    def __post_init__(self):
        low, high = self.area
        if not low <= high <= 1:
            raise ValueError(f"data.area=[{low},{high}] cannot be: it should go up, to 1 at most, as in [0.05,1]")

    def explain_missing(self, parts: tuple[Part, ...]) -> str | None:
        """What it takes besides to read these parts, and how to say it; None where that is nothing."""
        return None


@frozen_dataclass
class Shapes(Dataset):
    """Images drawn by a seeded generator, so that a first run needs no download."""

    source: Literal["shapes"]
    target: Literal["shape", "colour", "count", "position", "orientation"]  # what the label tells
    size: Annotated[int, Field(ge=16, le=1024)]  # side of a drawn image, in pixels
    train_images: PositiveInt
    test_images: PositiveInt


DIGITS_IMAGES = 1_797  # in all


@frozen_dataclass
class Digits(Dataset):
    """scikit-learn's 1,797 scanned handwritten digits, 8 by 8 pixels."""

    source: Literal["digits"]
    test_images: Annotated[int, Field(ge=1, lt=DIGITS_IMAGES)]


@frozen_dataclass
class DescribedDataset(Dataset):
    """What is known of a data set before it is opened; none where only its source knows."""

    classes: PositiveInt | None
    train_images: PositiveInt | None
    test_images: PositiveInt | None
    licence: str | None
    paper: str | None  # what the paper (arXiv 2010.11929) calls it
    home: str | None  # the page where it comes from, what to fetch there, and whether an account is needed


def describe_origin(name: str, home: str | None, hub: str | None = None) -> str:
    """The sentence that says where a data set comes from, behind a space; nothing where its row does not know."""
    if home is None:
        return ""
    return f" {name} comes from {home}" + (f"; without a path it is read from {hub} on the Hub." if hub else ".")


@frozen_dataclass
class Files(DescribedDataset):
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
        if self.real is not None and self.labels != "real":
            raise ValueError(f"data.real={self.real} is read with data.labels=real only: add that")

    def explain_missing(self, parts: tuple[Part, ...]) -> str | None:
        """The place of the images, where it is neither here nor on the Hub."""
        if self.path is not None or self.hub is not None:
            return None
        source = describe_origin(self.name, self.home)
        return f"data={self.name} needs to know where the images are: add data.path=FOLDER.{source}"


def is_url(pattern: str) -> bool:
    """Whether a pattern of shards names addresses, and not files."""
    return pattern.startswith(("http://", "https://"))


@frozen_dataclass
class Shards(DescribedDataset):
    """Tar shards in WebDataset's layout: files in ``path``, or addresses on the net, whose files are kept there."""

    source: Literal["shards"]
    path: Path | None  # none for a folder in the user's cache
    train: str  # the training shards: a file or an address with {000..127}, or files with *
    test: str
    label: str  # "cls" for the member of that name; any other name is a field of the json member
    buffer: PositiveInt  # images that are shuffled together: more is better mixed, fewer touch fewer shards at a time

    def explain_missing(self, parts: tuple[Part, ...]) -> str | None:
        """The place of the shards where they are neither here nor on the net, or the number of classes."""
        here = [part for part in parts if not is_url(getattr(self, part))]
        if here and self.path is None:
            addresses = " ".join(f"data.{part}=https://HOST/{part}-{{000..127}}.tar" for part in here)
            return (
                f"data={self.name} needs to know where the shards are.{describe_origin(self.name, self.home)} Add "
                f"data.path=FOLDER, or addresses, as in {addresses}"
            )
        if self.classes is None:
            return f"data={self.name} needs to know the number of classes: add data.classes=NUMBER"
        return None


@frozen_dataclass
class Vtab(Dataset):
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
        for key, parts in VTAB_PARTS.items():
            if getattr(self, key) not in parts:
                raise ValueError(f"data.{key}={getattr(self, key)} cannot be: it should be {' or '.join(parts)}")
        if (self.train, self.test) == ("train800val200", "val200"):
            raise ValueError("data.test=val200 is trained on: add data.train=train800")
        if self.protocol == "vpt" and (self.crop != "none" or self.flip):
            raise ValueError(
                "data.protocol=vpt squares the whole image: add data.crop=none data.flip=false, or protocol=vpt for all"
            )

    def explain_missing(self, parts: tuple[Part, ...]) -> str | None:
        """The place of the original."""
        if self.path is not None or self.root is not None:
            return None
        return (
            f"data={self.name} needs to know where its original is: add data.path=FOLDER, or data.root=FOLDER that "
            "holds a folder for each original of VTAB"
        )


@frozen_dataclass
class Suite:
    """Tasks of VTAB-1k that are fine-tuned one after another, each as its own row of ``conf/data`` says."""

    source: Literal["suite"]
    name: str
    root: Path | None  # the folder of all originals, as of each task
    tasks: tuple[str, ...]
    protocol: Literal["vit", "vpt"]
    crop: Crop | None  # these three for all tasks; none for each one's own
    area: tuple[PositiveFloat, PositiveFloat] | None
    flip: bool | None

    def __post_init__(self):
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"data.tasks=[{','.join(self.tasks)}] cannot be: it should name some tasks, each once")

    def explain_missing(self, parts: tuple[Part, ...]) -> str | None:
        """The place of the originals."""
        if self.root is not None:
            return None
        return f"data={self.name} needs to know where the originals are: add data.root=FOLDER"


VTAB_FINAL_PARTS = ("train800val200", "test")  # what a final run is trained and tested on
# The training parts with their images, and the test parts, whose images differ from task to task.
VTAB_PARTS = {"train": {"train800val200": 1_000, "train800": 800}, "test": ("test", "val200")}
Data = Annotated[Shapes | Digits | Files | Shards | Vtab | Suite, Field(discriminator="source")]


def check_not_suite(data: Data) -> None:
    """A ValueError where the data set is a suite of several."""
    if isinstance(data, Suite):
        raise ValueError(
            f"data={data.name} is a suite of {len(data.tasks)} tasks, for vitrun finetune only: choose one of them, "
            f"as in data={data.name}/{data.tasks[0]}"
        )


def count_train_images(data: Data) -> int | None:
    """The training images of a data set, where that is known before it is opened."""
    if isinstance(data, Digits):
        return DIGITS_IMAGES - data.test_images
    if isinstance(data, Vtab):
        return VTAB_PARTS["train"][data.train]
    return getattr(data, "train_images", None)


def count_held_out(images: int, share: float) -> int:
    """How many of the training images a share of them is, one at least; a ValueError where none are left."""
    number = max(1, round(images * share))
    if number >= images:
        raise ValueError(f"dev={share:g} of {images} training images leaves none to train on: give a smaller share")
    return number


def check_trainable(data: Data) -> None:
    """A ValueError where the data set is for evaluation only."""
    if isinstance(data, Files) and (data.train is None or data.labels != "original"):
        why = "it has" if data.train is None else f"with data.labels={data.labels} there are"
        raise ValueError(f"data={data.name} is for vitrun eval only: {why} no training images")
