"""Data sets of images with boxes around their objects, as the rows of ``conf/data`` describe them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from vitrun.recipes.base import Images, OptionError, Seed, frozen_dataclass
from vitrun.recipes.dataset import Dataset, DescribedDataset, Jpeg, Part, check_drawn_size, describe_origin

SOURCES = ("boxes", "coco")  # of data sets with boxes


@frozen_dataclass
class DrawnBoxes(Dataset):
    """Images of several shapes with their boxes, drawn by a seeded generator: a first run needs no download."""

    source: Literal["boxes"]  # comes with data=NAME
    target: Literal["shape", "colour"]  # what the class of a box names
    kinds: Annotated[int, Field(ge=2, le=20)]  # how many of the shapes of data=shapes are drawn
    objects: Annotated[int, Field(ge=1, le=12)]  # most objects in an image; images have 1 to as many, where they fit
    size: Annotated[int, Field(ge=16, le=1024)]  # side of a drawn image, in pixels
    train_images: Images  # images to draw for training
    test_images: Images  # images to draw for testing

    has_boxes = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_drawn_size(self.size, self.train_images, self.test_images)


@frozen_dataclass
class Coco(DescribedDataset):
    """Images with boxes, listed in JSON files as COCO's: COCO itself, or images of one's own."""

    source: Literal["coco"]  # comes with data=NAME
    jpeg: Jpeg  # how JPEGs are decoded: precise as Pillow, or fast as TensorFlow by default, up to 5 levels apart
    # a JSON of images, annotations and categories, or a folder with those of both parts, in it or in a folder of it; or
    # data.yaml of YOLO, or its folder
    path: Path | None
    images: Path | None  # folder that the names of images start from; null to find it near the JSON
    # the JSON of training images below path, or a key of data.yaml; auto for that of a usual name, null to test on all
    train: str | None
    test: str  # the JSON of test images below path, or a key of data.yaml; auto for that of a usual name
    test_share: Annotated[float, Field(gt=0, lt=1)]  # share of the images to test on, if there is one part only
    split_seed: Seed  # seed of the choice of that share
    exif: bool  # turn images as their EXIF orientation says; COCO's boxes are of images as stored

    has_boxes = True

    @property
    def folder(self) -> Path:
        """Return ``path``, a folder or a file."""
        assert self.path is not None
        return self.path

    def check_complete(self, parts: tuple[Part, ...]) -> None:
        """Raise a UserError if there is no ``path``."""
        if self.path is None:
            why = f"needs a JSON of boxes, or a folder with those of both parts: add {self.group}.path=FOLDER."
            raise OptionError(self.group, self.name, why + describe_origin(self.name, self.home))
