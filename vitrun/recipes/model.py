"""Model architectures: the rows of ``conf/model``."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from vitrun.recipes.base import OptionError, frozen_dataclass
from vitrun.recipes.model_limits import Features
from vitrun.recipes.resnet_rows import BiT, ClipResNet, ResNet
from vitrun.recipes.transformer_rows import IGpt, TextTower, ViT


@frozen_dataclass
class Timm:
    """Any architecture of timm, as a baseline."""

    kind: Literal["timm"]  # comes with model=NAME
    name: str  # the architecture, any of timm.list_models()
    options: dict[str, JsonValue] = field(default_factory=dict)  # arguments of timm.create_model


@frozen_dataclass
class Clip:
    """An image and a text tower with features in one space (arXiv 2103.00020)."""

    kind: Literal["clip"]  # comes with model=NAME
    name: str  # comes with model=NAME
    image: Annotated[ViT | ClipResNet, Field(discriminator="kind")]  # the image tower
    text: TextTower  # the text tower
    features: Features  # features of an image or a text, in the space of both
    logit_bias: bool  # a bias of the logits beside the temperature, as in SigLIP; objective.loss=sigmoid adds it

    def __post_init__(self) -> None:
        if isinstance(self.image, ClipResNet) and self.image.features != self.features:
            why = f"must be model.image.features={self.image.features}: no layer follows the attention pooling."
            raise OptionError("features", self.features, why)

    def check_resolution(self, res: int) -> None:
        """Raise an OptionError if the image tower takes no images of ``res`` pixels."""
        self.image.check_resolution(res)


@frozen_dataclass
class ModelInfo:
    """Keys of a model's file that are not options and no part of a recipe."""

    paper: str | None = None  # the model's name in papers, as in "B/16"
    weights: tuple[str, ...] = ()  # published weights, each as ``init=`` takes it


Model = Annotated[ViT | BiT | Timm | ClipResNet | Clip | IGpt | ResNet, Field(discriminator="kind")]
