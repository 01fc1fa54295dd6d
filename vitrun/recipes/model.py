"""Model architectures: the rows of ``conf/model``."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from vitrun.recipes.base import Fraction, frozen_dataclass


@frozen_dataclass
class ViT:
    """A vision transformer, or with the ``stem`` of a ResNet before it a hybrid."""

    kind: Literal["vit"]
    name: str
    patch: PositiveInt  # side of a patch in pixels; of the ResNet's feature map where there is one
    width: PositiveInt
    depth: PositiveInt
    heads: PositiveInt
    mlp: PositiveInt
    stem: NonNegativeInt  # channels of the stem of the ResNet before the transformer; 0 for a pure ViT
    resnet: tuple[PositiveInt, ...]  # blocks a stage of that ResNet; a stem alone has no stages
    head: Literal["token", "gap", "map"]
    pre_logits: bool
    positions: Literal["learned", "none", "2d", "relative", "sincos2d"]
    positions_at: Literal["stem", "every", "shared"]
    dropout: Fraction
    stochastic_depth: Fraction

    def __post_init__(self):
        if self.width % self.heads:
            raise ValueError(f"model.width={self.width} is not a multiple of model.heads={self.heads}")
        parts = {"2d": 2, "sincos2d": 4}.get(self.positions, 1)  # a row and a column, a sine and a cosine of each
        if self.width % parts:
            raise ValueError(f"model.width={self.width} is not a multiple of {parts}, as {self.positions} needs")
        if self.stem % 32:
            raise ValueError(f"model.stem={self.stem} is not a multiple of 32, the groups of its normalisation")
        if self.resnet and not self.stem:
            raise ValueError("model.resnet needs a stem: set model.stem=64, or model.resnet=[]")

    @property
    def stride(self) -> int:
        """The pixels along a side of a token."""
        return self.patch * (4 * 2 ** max(len(self.resnet) - 1, 0) if self.stem else 1)

    def explain_misfit(self, res: int) -> str | None:
        """Why images of ``res`` pixels cannot be cut into tokens, with the two nearest sizes that can; or None."""
        if res % self.stride == 0:
            return None
        below, above = res - res % self.stride, res - res % self.stride + self.stride
        near = f"{below} and {above}" if below else f"{above} and {above + self.stride}"
        return f"res={res} is no multiple of {self.stride}, the stride of {self.name}. The nearest that fit: {near}."


@frozen_dataclass
class BiT:
    """A pre-activation ResNet with group norm and weight standardisation (arXiv 1912.11370)."""

    kind: Literal["bit"]
    name: str
    blocks: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
    width_factor: PositiveFloat
    border: Literal["zero", "none"]  # what the stem's max-pool sees around the image: big_transfer and timm, big_vision


@frozen_dataclass
class Timm:
    """Any architecture that timm knows, as a baseline."""

    kind: Literal["timm"]
    name: str


@frozen_dataclass
class ModelInfo:
    """What the file of a model says beyond its options; it is no part of a recipe."""

    paper: str | None = None  # the model's name in papers, as in "B/16"
    weights: tuple[str, ...] = ()  # published weights, each as ``init=`` takes it


Model = Annotated[ViT | BiT | Timm, Field(discriminator="kind")]
