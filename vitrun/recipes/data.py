"""Data sets, as the rows of ``conf/data`` describe them."""

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union

from pydantic import Field, PositiveFloat

from vitrun.recipes.base import Classes, Images, OptionError, Seed, frozen_dataclass
from vitrun.recipes.shard_patterns import check_pattern, is_url
from vitrun.runtime.plugins import load_plugins

Part = Literal["train", "test"]
Jpeg = Literal["precise", "fast"]
AUTO = "auto"  # the split or folder of a usual name
MAX_DRAWN = 100 * 10**9  # bytes of drawn images
Crop = Literal["inception", "random_resized", "pad", "square", "small_square", "none"]


@frozen_dataclass
class Dataset:
    """Options of every data set: its name, and how its training images are cropped and flipped."""

    group = "data"  # the option that chose this data set, for messages; ``against`` for the second one of dedup

    name: str  # comes with data=NAME; of a set of your own any name, by default that of its folder
    # of training images: inception (random area and aspect, as TensorFlow), random_resized (the same as torchvision and
    # timm), pad (shifted by up to 1/8 of a side), square (squashed, 6/7 of each side at random), small_square (4/5),
    # none (the whole image, squashed)
    crop: Crop
    area: tuple[PositiveFloat, PositiveFloat]  # least and largest share of the image in a random crop: timm's scale
    flip: bool  # mirror half of the training images

    def __post_init__(self) -> None:
        low, high = self.area
        if not low <= high <= 1:
            raise OptionError("area", self.area, "must be two increasing numbers up to 1, as in [0.05,1].")

    def check_complete(self, parts: tuple[Part, ...]) -> None:
        """Raise a UserError if an option is missing without which these parts cannot be read."""


@frozen_dataclass
class Shapes(Dataset):
    """Images drawn by a seeded generator: a first run needs no download."""

    source: Literal["shapes"]  # comes with data=NAME
    target: Literal["shape", "colour", "count", "position", "orientation"]  # what the label names
    size: Annotated[int, Field(ge=16, le=1024)]  # side of a drawn image, in pixels
    train_images: Images  # images to draw for training
    test_images: Images  # images to draw for testing

    def __post_init__(self) -> None:
        super().__post_init__()
        size = 3 * self.size**2 * (self.train_images + self.test_images)
        if size > MAX_DRAWN:
            limit = f"at most {MAX_DRAWN / 1e9:.0f} GB"
            why = f"{limit} of pixels are drawn, in memory, and with data.size={self.size} these are {size / 1e9:,.0f}."
            raise OptionError("train_images", self.train_images, why)


DIGITS_IMAGES = 1_797  # in all


@frozen_dataclass
class Digits(Dataset):
    """The 1,797 scanned handwritten digits that scikit-learn has too, 8 by 8 pixels."""

    source: Literal["digits"]  # comes with data=NAME
    test_images: Annotated[int, Field(ge=1, lt=DIGITS_IMAGES)]  # images to test on; the others are for training


@frozen_dataclass
class DescribedDataset(Dataset):
    """Facts about a data set that are known before it is opened; None if only its source knows."""

    classes: Classes | None  # number of classes; null for that in the source
    train_images: Images | None  # number of training images; null for that in the source
    test_images: Images | None  # number of test images; null for that in the source
    licence: str | None  # shown by vitrun data
    paper: str | None  # its name in the paper (arXiv 2010.11929)
    home: str | None  # its home page, what to download there, and whether an account is needed


def describe_origin(name: str, home: str | None, hub: str | None = None) -> str:
    """Return " NAME comes from HOME." to append to a message; an empty string if its row names no home page."""
    if home is None:
        return ""
    return f" {name} comes from {home}" + (f"; without a path it is read from {hub} on the Hub." if hub else ".")


@frozen_dataclass
class Files(DescribedDataset):
    """Images on the Hub, or in ``path``: parquet files in the layout of the Hub, or one folder per class."""

    source: Literal["files"]  # comes with data=NAME
    jpeg: Jpeg  # how JPEGs are decoded: precise as Pillow, or fast as TensorFlow by default, up to 5 levels apart
    path: Path | None  # folder with the images; null to read them from the Hub
    hub: str | None  # ORG/NAME on the Hub
    config: str | None  # name of a configuration on the Hub
    revision: str | None  # commit, tag or branch on the Hub
    image: str  # the column of images
    label: str  # the column of labels
    labels: Literal["original", "real", "imagenet_a", "imagenet_r", "objectnet"]  # how classes are numbered
    real: Path | None  # a file of ReaL's labels; null for the data set's own or the published ones
    train: str | None  # training split or folder, auto for that of a usual name; null for an evaluation-only data set
    test: str  # test split or folder, auto for the first of test, val, valid, validation with class folders
    test_share: Annotated[float, Field(gt=0, lt=1)]  # share of each class to test on, if one folder serves both parts
    split_seed: Seed  # seed of the choice of that share
    exif: bool  # turn images as their EXIF orientation says

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.real is not None and self.labels != "real":
            raise OptionError(
                "labels", self.labels, f"does not use real={self.real}: choose labels real, or leave out real."
            )

    @property
    def folder(self) -> Path:
        """Return ``path`` of a data set in files."""
        assert self.path is not None
        return self.path

    @property
    def repository(self) -> str:
        """Return ``hub`` of a data set on the Hub."""
        assert self.hub is not None
        return self.hub

    def check_complete(self, parts: tuple[Part, ...]) -> None:
        """Raise a UserError if the images are neither in ``path`` nor on the Hub."""
        if self.path is None and self.hub is None:
            source = describe_origin(self.name, self.home)
            raise OptionError(self.group, self.name, f"needs a folder of images: add {self.group}.path=FOLDER.{source}")


@frozen_dataclass
class Shards(DescribedDataset):
    """Tar shards in the layout of WebDataset: files in ``path``, or URLs that are downloaded to it."""

    source: Literal["shards"]  # comes with data=NAME
    jpeg: Jpeg  # how JPEGs are decoded: precise as Pillow, or fast as TensorFlow by default, up to 5 levels apart
    path: Path | None  # folder with the shards, or to download them to; null for one in the user's cache
    train: str  # the training shards: a file or a URL with {000..127}, or files with *
    test: str  # the test shards, in the same way
    image: str | None  # the extension of the image in a sample, such as left.jpg; null for the only image
    label: str  # the extension of the member with the class, such as cls; else a field of the json member
    # images shuffled together: a larger buffer mixes better, a smaller one reads fewer shards at once
    buffer: Annotated[int, Field(gt=0, le=10**7)]

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, pattern in (("train", self.train), ("test", self.test)):
            check_pattern(option, pattern)

    def check_complete(self, parts: tuple[Part, ...]) -> None:
        """Raise a UserError if the shards are neither in ``path`` nor at URLs, or the number of classes is unknown."""
        group = self.group
        local = [part for part in parts if not is_url(getattr(self, part))]
        if local and self.path is None:
            urls = " ".join(f"{group}.{part}=https://HOST/{part}-{{000..127}}.tar" for part in local)
            source = describe_origin(self.name, self.home)
            way_out = f"add {group}.path=FOLDER, or URLs, as in {urls}."
            raise OptionError(group, self.name, f"needs the place of its shards: {way_out}{source}")
        if self.classes is None:
            raise OptionError(group, self.name, f"needs the number of classes: add {group}.classes=NUMBER.")


@frozen_dataclass
class Vtab(Dataset):
    """Task of VTAB-1k, read from its original files."""

    source: Literal["vtab"]  # comes with data=NAME
    jpeg: Jpeg  # how JPEGs are decoded: precise as Pillow, or fast as TensorFlow by default, up to 5 levels apart
    task: str  # comes with data=NAME
    path: Path | None  # the folder of this task's original
    root: Path | None  # the folder of all originals, each in a folder named after its TFDS builder
    protocol: Literal["vit", "vpt"]  # the training view of the ViT paper, or of visual prompt tuning
    train: str  # train800val200 for the final run, or train800 to choose options
    test: str  # test for the final run, or val200 to choose options

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, value, parts in (("train", self.train, VTAB_TRAIN_PARTS), ("test", self.test, VTAB_TEST_PARTS)):
            if value not in parts:
                raise OptionError(option, value, f"must be {' or '.join(parts)}.")
        if (self.train, self.test) == ("train800val200", "val200"):
            raise OptionError("test", "val200", "is part of train=train800val200: choose train800 to train on.")
        if self.protocol == "vpt" and (self.crop != "none" or self.flip):
            raise OptionError("protocol", "vpt", "squares the whole image: it needs crop=none and flip=false.")

    def check_complete(self, parts: tuple[Part, ...]) -> None:
        """Raise a UserError if the folder of the original is not given."""
        if self.path is None and self.root is None:
            way_out = f"add {self.group}.path=FOLDER, or {self.group}.root=FOLDER with one folder for each original"
            raise OptionError(self.group, self.name, f"needs the folder of its original: {way_out}.")


@frozen_dataclass
class Suite:
    """Tasks of VTAB-1k that are fine-tuned one after another, each with the options of its own row of ``conf/data``."""

    group = "data"

    source: Literal["suite"]  # comes with data=NAME
    name: str  # comes with data=NAME
    root: Path | None  # the folder of all originals, each in a folder named after its TFDS builder
    tasks: tuple[str, ...]  # names of the tasks, without vtab/
    protocol: Literal["vit", "vpt"]  # the training view of the ViT paper, or of visual prompt tuning
    crop: Crop | None  # how training images are cropped; null for that of each task
    area: tuple[PositiveFloat, PositiveFloat] | None  # shares of the image in a crop; null for those of each task
    flip: bool | None  # mirror half of the training images; null for that of each task

    def __post_init__(self) -> None:
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise OptionError("tasks", self.tasks, "must name at least one task, and each only once.")

    def check_complete(self, parts: tuple[Part, ...]) -> None:
        """Raise a UserError if the folder of the originals is not given."""
        if self.root is None:
            raise OptionError("data", self.name, "needs the folder of the originals: add data.root=FOLDER.")


VTAB_FINAL_PARTS = ("train800val200", "test")  # the training and the test part of a final run
# The training parts with their number of images, and the test parts, whose numbers differ from task to task.
VTAB_TRAIN_PARTS = {"train800val200": 1_000, "train800": 800}
VTAB_TEST_PARTS = ("test", "val200")
OPTIONS: dict[str, Any] = {
    "shapes": Shapes,
    "digits": Digits,
    "files": Files,
    "shards": Shards,
    "vtab": Vtab,
    "suite": Suite,
}
PLUGIN_GROUP = "vitrun.data_options"  # the entry points by which an installed package adds to OPTIONS
if TYPE_CHECKING:
    Data = Shapes | Digits | Files | Shards | Vtab | Suite
else:
    Data = Annotated[Union[*OPTIONS.values(), *load_plugins(PLUGIN_GROUP, OPTIONS)], Field(discriminator="source")]


DataT = TypeVar("DataT", bound=Dataset | Suite)


def set_group(data: DataT, group: str) -> DataT:
    """Return an equal data set whose messages name the options of ``group``."""
    data = copy.copy(data)
    object.__setattr__(data, "group", group)  # which is no option, so that two equal data sets stay equal
    return data
