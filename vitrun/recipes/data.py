"""Data sets, as the rows of ``conf/data`` describe them."""

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union

from pydantic import Field

from vitrun.recipes.base import Images, OptionError, Seed, frozen_dataclass
from vitrun.recipes.boxes import Coco, DrawnBoxes
from vitrun.recipes.captions import Captions, Pairs
from vitrun.recipes.dataset import AUTO as AUTO
from vitrun.recipes.dataset import (
    Dataset,
    DescribedDataset,
    Jpeg,
    Located,
    Part,
    check_drawn_size,
    describe_origin,
)
from vitrun.recipes.labelled import Table
from vitrun.recipes.shard_patterns import check_pattern, is_url
from vitrun.recipes.vtab import Suite, Vtab
from vitrun.runtime.plugins import load_plugins

DIGITS_IMAGES = 1_797  # in all
UNLABELLED = "unlabelled"  # the option of a data set whose labels are not read


@frozen_dataclass
class Shapes(Dataset):
    """Images drawn by a seeded generator: a first run needs no download."""

    source: Literal["shapes"]  # comes with data=NAME
    target: Literal["shape", "colour", "count", "position", "orientation"]  # what the label names
    size: Annotated[int, Field(ge=16, le=1024)]  # side of a drawn image, in pixels
    train_images: Images  # images to draw for training
    test_images: Images  # images to draw for testing

    has_captions = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_drawn_size(self.size, self.train_images, self.test_images)


@frozen_dataclass
class Digits(Dataset):
    """The 1,797 scanned handwritten digits that scikit-learn has too, 8 by 8 pixels."""

    source: Literal["digits"]  # comes with data=NAME
    test_images: Annotated[int, Field(ge=1, lt=DIGITS_IMAGES)]  # images to test on; the others are for training


@frozen_dataclass
class Files(Located, DescribedDataset):
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
            raise OptionError(group, self.name, f"needs the location of its shards: {way_out}{source}")
        if self.classes is None and group != UNLABELLED:
            raise OptionError(group, self.name, f"needs the number of classes: add {group}.classes=NUMBER.")


OPTIONS: dict[str, Any] = {
    "shapes": Shapes,
    "digits": Digits,
    "boxes": DrawnBoxes,
    "files": Files,
    "table": Table,
    "captions": Captions,
    "coco": Coco,
    "shards": Shards,
    "pairs": Pairs,
    "vtab": Vtab,
    "suite": Suite,
}
PLUGIN_GROUP = "vitrun.data_options"  # the entry points by which an installed package adds to OPTIONS
if TYPE_CHECKING:
    Data = Shapes | Digits | DrawnBoxes | Files | Table | Captions | Coco | Shards | Pairs | Vtab | Suite
else:
    Data = Annotated[Union[*OPTIONS.values(), *load_plugins(PLUGIN_GROUP, OPTIONS)], Field(discriminator="source")]


DataT = TypeVar("DataT", bound=Dataset | Suite)


def set_group(data: DataT, group: str) -> DataT:
    """Return an equal data set whose messages name the options of ``group``."""
    data = copy.copy(data)
    object.__setattr__(data, "group", group)  # which is not an option, so that two equal data sets stay equal
    return data
