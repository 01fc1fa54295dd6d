"""Model architectures: the rows of ``conf/model``."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from vitrun.recipes.base import Fraction, OptionError, frozen_dataclass
from vitrun.recipes.model_limits import Blocks, Features, check_heads
from vitrun.recipes.resnet_rows import BiT, ClipResNet, ResNet
from vitrun.recipes.transformer_rows import IGpt, TextTower, ViT


@frozen_dataclass
class Timm:
    """Any architecture of timm, as a baseline."""

    kind: Literal["timm"]  # comes with model=NAME
    name: str  # the architecture, any of timm.list_models()
    options: dict[str, JsonValue] = field(default_factory=dict)  # other arguments of timm.create_model
    dropout: Fraction = 0.0  # rate before the head: timm's drop_rate
    stochastic_depth: Fraction = 0.0  # rate at which the last block is skipped; it rises from 0: timm's drop_path_rate

    def list_arguments(self) -> dict[str, JsonValue]:
        """Return the arguments of ``timm.create_model``; rates of 0 are left out, as not every network takes them."""
        rates = {"drop_rate": self.dropout, "drop_path_rate": self.stochastic_depth}
        return {**self.options, **{name: rate for name, rate in rates.items() if rate}}


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
class Detector:
    """A network that finds objects: detection tokens in a ViT (YOLOS), or a decoder behind a body (DETR)."""

    kind: Literal["detector"]  # comes with model=NAME
    name: str  # comes with model=NAME
    body: Annotated[ViT | Timm, Field(discriminator="kind")]  # a ViT, or with a decoder a ResNet of timm too
    tokens: Annotated[int, Field(gt=0, le=10_000)]  # detection tokens or queries: the most objects found in an image
    mid: bool  # positions added after each block of the ViT but the last, as in larger YOLOS
    # rows and columns of the ViT's position table, which is resampled for other images; [] for those of res
    grid: Annotated[tuple[Blocks, ...], Field(max_length=2)]
    encoder: Annotated[int, Field(ge=0, le=100)]  # layers of the encoder between the body and the decoder
    decoder: Annotated[int, Field(ge=0, le=100)]  # layers of the decoder; 0 for detection tokens in the ViT itself
    width: Features  # features of a token in encoder and decoder
    heads: Features  # heads of their attention
    mlp: Features  # hidden features of their MLPs
    dropout: Fraction  # rate in encoder and decoder

    def __post_init__(self) -> None:
        check_heads(self.width, self.heads)
        if self.width % 4:
            why = "must be a multiple of 4: a sine and a cosine of row and column."
            raise OptionError("width", self.width, why)
        if len(self.grid) == 1:
            raise OptionError("grid", list(self.grid), "needs rows and columns, as in [50,83].")
        if self.encoder and not self.decoder:
            raise OptionError("encoder", self.encoder, "needs a decoder: add model.decoder=6, or set model.encoder=0.")
        if isinstance(self.body, ViT):
            check_detects(self.body)
        elif not self.decoder:
            why = f"needs a ViT for detection tokens, and {self.body.name} is a network of timm: add model.decoder=6."
            raise OptionError("decoder", self.decoder, why)

    @property
    def stride(self) -> int:
        """Return the side of a token of the ViT in pixels; 1 for a ResNet, which takes images of any size."""
        return self.body.stride if isinstance(self.body, ViT) else 1

    def check_resolution(self, res: int) -> None:
        """Raise an OptionError if tokens do not tile images of ``res`` pixels."""
        if isinstance(self.body, ViT):
            self.body.check_resolution(res)


def check_detects(body: ViT) -> None:
    """Raise an OptionError if a ViT has other positions than none or one table at its stem."""
    if body.positions == "relative" or (body.positions_at != "stem" and body.positions != "none"):
        why = f"of {body.name} are {body.positions} at {body.positions_at}: a detector adds one table at the stem."
        raise OptionError("positions", body.positions, why)


@frozen_dataclass
class ModelInfo:
    """Keys of a model's file that are not options and no part of a recipe."""

    paper: str | None = None  # the model's name in papers, as in "B/16"
    weights: tuple[str, ...] = ()  # published weights, each as ``init=`` takes it


Model = Annotated[ViT | BiT | Timm | ClipResNet | Clip | IGpt | ResNet | Detector, Field(discriminator="kind")]
