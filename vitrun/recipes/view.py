"""Options of how images are resized, cropped and augmented."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat

from vitrun.recipes.base import OptionError, frozen_dataclass

Level = Annotated[int, Field(ge=0, le=255)]
Probability = Annotated[float, Field(ge=0, le=1)]
LONGEST = 1333 / 800  # longer side of a rectangle, relative to ``res``, at most (DETR's and YOLOS' datasets/coco.py)
RECTANGLES = {"rectangle": 1, "rectangle_16": 16}  # view.resize -> what sides are multiples of


@frozen_dataclass
class View:
    """Resizing and cropping of test images, and resizing of training images."""

    # how test images are resized. To a square: square (as Google's code), squash (timm); by the shorter side: small,
    # small_area (Google; the latter averages pixels), shortest (timm, torchvision), shortest_edge (transformers); by
    # the longer side: border (timm). For detectors, in eval and predict: rectangle (DETR) keeps the shape of an image,
    # with a shorter side of res and a longer one of at most 1333/800 of that; rectangle_16 (YOLOS) cuts sides to
    # multiples of 16
    resize: Literal[
        "square", "small", "small_area", "squash", "shortest", "shortest_edge", "border", "rectangle", "rectangle_16"
    ]
    # side of the centre crop, as a share of the resized image's shorter side: timm's crop_pct
    crop: Annotated[float, Field(ge=0.01, le=1)]
    # filter as wide as the pixels shrink, as PIL and timm do; false for TensorFlow's resize, which takes the nearest
    # pixels only. Training images too
    antialias: bool
    # how pixels are interpolated, in training too; bicubic is PIL's and needs antialias=true
    interpolation: Literal["bilinear", "bicubic"]
    fill: tuple[Level, Level, Level]  # red, green and blue (0 to 255) around the image, with border and rectangles

    def __post_init__(self) -> None:
        if self.interpolation == "bicubic" and not self.antialias:
            why = "is made with antialias only, as PIL does: add view.antialias=true, or take bilinear."
            raise OptionError("interpolation", self.interpolation, why)


@frozen_dataclass
class Augment:
    """Augmentation of training images, after the data set's crop and flip."""

    # whose RandAugment: that of the published code (big_vision), whose distances are pixels, for 224 or more; or
    # torchvision, whose distances are shares of the image; none needs layers=0
    randaugment: Literal["none", "big_vision", "torchvision"]
    layers: Annotated[int, Field(ge=0, le=100)]  # operations of RandAugment on each image; 0 with randaugment=none
    magnitude: Annotated[int, Field(ge=0, le=30)]  # strength of these operations, 0 to 30; unused with randaugment=none
    mixup: NonNegativeFloat  # a of Beta(a, a), from which the shares of two images are drawn; 0 for no mixup
    cutmix: NonNegativeFloat  # a of Beta(a, a), the share of an image that CutMix leaves of it; 0 for no CutMix
    switch_prob: Probability  # probability that a step has CutMix and not mixup, if both are on
    erasing: Probability  # probability that a random rectangle of an image is erased: timm's reprob

    def __post_init__(self) -> None:
        if (self.randaugment == "none") != (self.layers == 0):
            way_out = "augment.randaugment=big_vision augment.layers=2 augment.magnitude=10, or none and 0"
            why = f"contradicts augment.layers={self.layers}: choose both, as in {way_out}."
            raise OptionError("randaugment", self.randaugment, why)
