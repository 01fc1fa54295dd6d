"""Options of how images are resized, cropped and augmented."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from vitrun.recipes.base import OptionError, frozen_dataclass


@frozen_dataclass
class View:
    """Resizing and cropping of test images, and resizing of training images."""

    # Squashed to a square, or the shorter side resized and the aspect ratio preserved; small_area averages areas of
    # pixels, the others interpolate, with or without ``antialias``.
    resize: Literal["square", "small", "small_area"]
    crop: Annotated[float, Field(gt=0, le=1)]  # side of the centre crop, as a share of the resized image's shorter side
    antialias: bool  # of training images too; without it as TensorFlow's bilinear resize


@frozen_dataclass
class Augment:
    """Augmentation of training images, after the data set's crop and flip."""

    randaugment: Literal["none", "big_vision", "torchvision"]
    layers: NonNegativeInt  # operations applied to each image
    magnitude: Annotated[int, Field(ge=0, le=30)]
    mixup: NonNegativeFloat  # a in Beta(a, a), from which the share of each batch is drawn; 0 for no mixup

    def __post_init__(self) -> None:
        if (self.randaugment == "none") != (self.layers == 0):
            way_out = "augment.randaugment=big_vision augment.layers=2 augment.magnitude=10, or none and 0"
            why = f"contradicts augment.layers={self.layers}: choose both, as in {way_out}."
            raise OptionError("randaugment", self.randaugment, why)
