"""Tasks of VTAB-1k, alone and as a suite, as the rows of ``conf/data`` describe them."""

from pathlib import Path
from typing import Literal

from pydantic import PositiveFloat

from vitrun.recipes.base import OptionError, frozen_dataclass
from vitrun.recipes.dataset import Crop, Dataset, Jpeg, Part

VTAB_FINAL_PARTS = ("train800val200", "test")  # the training and the test part of a final run
# The training parts with their number of images, and the test parts, whose numbers differ from task to task.
VTAB_TRAIN_PARTS = {"train800val200": 1_000, "train800": 800}
VTAB_TEST_PARTS = ("test", "val200")


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
