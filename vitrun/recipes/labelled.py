"""Data sets of images that a table names with their labels, as the row ``conf/data/table.yaml`` describes them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from vitrun.recipes.base import OptionError, Seed, frozen_dataclass
from vitrun.recipes.dataset import DescribedDataset, Jpeg, Located, Part


@frozen_dataclass
class Table(Located, DescribedDataset):
    """Images in files with a label each, which a CSV, TSV or JSON Lines file names."""

    text = "label"  # the option with the column that is read beside that of images

    source: Literal["table"]  # comes with data=NAME
    jpeg: Jpeg  # how JPEGs are decoded: precise as Pillow, or fast as TensorFlow by default, up to 5 levels apart
    path: Path | None  # a table (.csv, .tsv, .jsonl), or a folder with one, or with one for each part
    # folder that the names in a table start from; null for that of the table, or the one in it that has the images
    images: Path | None
    image: str  # the column of file names; auto for the only one of a usual name
    label: str  # the column of labels; auto for the only one of a usual name
    # what separates the columns of a table; auto for what its first line has
    separator: Literal["auto", "comma", "semicolon", "tab", "bar"]
    train: str | None  # training table, auto for that of a usual name; null to test on all images
    test: str  # test table, auto for that of a usual name
    test_share: Annotated[float, Field(gt=0, lt=1)]  # share of each class to test on, if one table serves both parts
    split_seed: Seed  # seed of the choice of that share
    exif: bool  # turn images as their EXIF orientation says

    def check_complete(self, parts: tuple[Part, ...]) -> None:
        """Raise a UserError if there is no table."""
        if self.path is None:
            why = f"needs a table of file names and labels: add {self.group}.path=FILE."
            raise OptionError(self.group, self.name, why)
