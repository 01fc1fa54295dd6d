"""Options that every data set has, and facts that are known before it is opened."""

from pathlib import Path
from typing import Literal

from pydantic import PositiveFloat

from vitrun.recipes.base import Classes, Images, OptionError, frozen_dataclass

AUTO = "auto"  # the split, folder or column of a usual name
Part = Literal["train", "test"]
Jpeg = Literal["precise", "fast"]
MAX_DRAWN = 100 * 10**9  # bytes of drawn images
Crop = Literal["inception", "random_resized", "pad", "square", "small_square", "none"]


@frozen_dataclass
class Dataset:
    """Options of every data set: its name, and how its training images are cropped and flipped."""

    group = "data"  # the option that chose this data set, for messages; ``against`` for the second one of dedup
    has_labels = True
    has_captions = False
    has_boxes = False

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


def check_drawn_size(size: int, train_images: int, test_images: int) -> None:
    """Raise an OptionError if drawn images of ``size`` pixels a side take too much memory."""
    drawn = 3 * size**2 * (train_images + test_images)
    if drawn > MAX_DRAWN:
        limit = f"at most {MAX_DRAWN / 1e9:.0f} GB"
        why = f"{limit} of pixels are drawn, in memory, and with data.size={size} these are {drawn / 1e9:,.0f}."
        raise OptionError("train_images", train_images, why)


@frozen_dataclass
class DescribedDataset(Dataset):
    """Facts about a data set that are known before it is opened; None if only its source knows."""

    classes: Classes | None  # number of classes; null for that in the source
    train_images: Images | None  # number of training images; null for that in the source
    test_images: Images | None  # number of test images; null for that in the source
    licence: str | None  # shown by vitrun data
    paper: str | None  # its name in the paper (arXiv 2010.11929)
    home: str | None  # its home page, what to download there, and whether an account is needed


class Located:
    """Where the images of a data set are: in files of ``path``, or in the repository ``hub`` on the Hub."""

    path: Path | None
    hub: str | None

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


def describe_origin(name: str, home: str | None, hub: str | None = None) -> str:
    """Return " NAME comes from HOME." to append to a message; an empty string if its row names no home page."""
    if home is None:
        return ""
    return f" {name} comes from {home}" + (f"; without a path it is read from {hub} on the Hub." if hub else ".")
