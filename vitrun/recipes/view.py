"""What a recipe says of how images are seen: resized, cropped, augmented."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from vitrun.recipes.base import frozen_dataclass


@frozen_dataclass
class View:
    """How a test image is made to fit, and how all images are resized."""

    # Squashed, or its shorter side resized and the aspect kept; each pixel by ``antialias``, or the mean of its area
    resize: Literal["square", "small", "small_area"]
    crop: Annotated[float, Field(gt=0, le=1)]  # share of the resized image's shorter side that the centre crop keeps
    antialias: bool  # of the training images too; without it as TensorFlow's bilinear resize


@frozen_dataclass
class Augment:
    """What is done to training images after the data set's crop and flip."""

    randaugment: Literal["none", "big_vision", "torchvision"]
    layers: NonNegativeInt  # operations that an image goes through
    magnitude: Annotated[int, Field(ge=0, le=30)]
    mixup: NonNegativeFloat  # a in Beta(a, a), of which a batch's share is drawn; 0 for no mixing

    def __post_init__(self):
        if (self.randaugment == "none") != (self.layers == 0):
            raise ValueError(
                f"augment.randaugment={self.randaugment} with augment.layers={self.layers} cannot be: choose both, as "
                "in augment.randaugment=big_vision augment.layers=2 augment.magnitude=10, or none and 0"
            )
