"""Data sets of images with captions, as the rows of ``conf/data`` describe them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from vitrun.recipes.base import OptionError, Seed, frozen_dataclass
from vitrun.recipes.dataset import DescribedDataset, Jpeg, Located, Part
from vitrun.recipes.shard_patterns import check_pattern, is_url


@frozen_dataclass
class Captions(Located, DescribedDataset):
    """Images with captions: a table of paths, text files beside images, or the Hub's parquet layout."""

    text = "caption"  # the option with the column that is read beside that of images

    source: Literal["captions"]  # comes with data=NAME
    jpeg: Jpeg  # how JPEGs are decoded: precise as Pillow, or fast as TensorFlow by default, up to 5 levels apart
    # a table (.csv, .tsv, .jsonl, .json of COCO or of Karpathy), or a folder with tables, with NAME.jpg and NAME.txt,
    # or with parquet files; null for the Hub
    path: Path | None
    images: Path | None  # folder that the paths in a table start from; null for that of the table
    hub: str | None  # ORG/NAME on the Hub
    config: str | None  # name of a configuration on the Hub
    revision: str | None  # commit, tag or branch on the Hub
    image: str  # the column of images, or of their paths; auto for the only one of a usual name
    caption: str  # the column of captions; auto for the only one of a usual name
    # what separates the columns of a table; auto for what its first line has
    separator: Literal["auto", "comma", "semicolon", "tab", "bar"]
    train: str | None  # training split, folder or table, auto for that of a usual name; null to test on all images
    test: str  # test split, folder or table, auto for that of a usual name
    test_share: Annotated[float, Field(gt=0, lt=1)]  # share of the images to test on, if there is one part only
    split_seed: Seed  # seed of the choice of that share
    exif: bool  # turn images as their EXIF orientation says

    has_labels = False
    has_captions = True

    def check_complete(self, parts: tuple[Part, ...]) -> None:
        """Raise a UserError if the images are neither in ``path`` nor on the Hub."""
        if self.path is None and self.hub is None:
            why = f"needs a table of images and captions, or a folder: add {self.group}.path=FILE."
            raise OptionError(self.group, self.name, why)


@frozen_dataclass
class Pairs(DescribedDataset):
    """Tar shards of images with captions in the layout of WebDataset: NAME.jpg and NAME.txt, or NAME.json."""

    source: Literal["pairs"]  # comes with data=NAME
    jpeg: Jpeg  # how JPEGs are decoded: precise as Pillow, or fast as TensorFlow by default, up to 5 levels apart
    path: Path | None  # folder with the shards, or to download them to; null for one in the user's cache
    train: str | None  # the training shards: a file or a URL with {000..127}, or files with *; null to test only
    test: str  # the test shards, in the same way
    image: str | None  # the extension of the image in a sample, such as left.jpg; null for the only image
    caption: str  # the extension of the member with the caption, such as txt; else a field of the json member
    # images shuffled together: a larger buffer mixes better, a smaller one reads fewer shards at once
    buffer: Annotated[int, Field(gt=0, le=10**7)]

    has_labels = False
    has_captions = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, pattern in (("train", self.train), ("test", self.test)):
            if pattern is not None:
                check_pattern(option, pattern)

    def check_complete(self, parts: tuple[Part, ...]) -> None:
        """Raise a UserError if the shards are neither in ``path`` nor at URLs."""
        local = [part for part in parts if not is_url(getattr(self, part) or "")]
        if local and self.path is None:
            urls = " ".join(f"{self.group}.{part}=https://HOST/{part}-{{000..127}}.tar" for part in local)
            why = f"needs the location of its shards: add {self.group}.path=FOLDER, or URLs, as in {urls}."
            raise OptionError(self.group, self.name, why)
