"""ResNets among the rows of ``conf/model``."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vitrun.recipes.base import Fraction, OptionError, frozen_dataclass
from vitrun.recipes.model_limits import (
    EXPANSION,
    MAX_PARAMETERS,
    Blocks,
    Features,
    Stages,
    check_multiple,
    explain_size,
)

POOLED_SIDE = 28  # pixels from which a map is pooled before attention beside a convolution (AAConv, section 3.3)
MIN_HEAD_KEYS = 20  # channels of a head's keys beside a convolution, at least (arXiv 1904.09925, section 4)


@frozen_dataclass
class BiT:
    """Pre-activation ResNet with group norm and weight standardisation (arXiv 1912.11370)."""

    kind: Literal["bit"]  # comes with model=NAME
    name: str  # comes with model=NAME
    blocks: tuple[Blocks, Blocks, Blocks, Blocks]  # units in each of the four stages
    width_factor: Annotated[float, Field(gt=0, le=64)]  # times the channels of a ResNet
    border: Literal["zero", "none"]  # padding of the stem's max-pool: zero as big_transfer and timm, none as big_vision
    dropout: Fraction = 0.0  # rate before the head
    stochastic_depth: Fraction = 0.0  # rate at which the last block is skipped; it rises linearly from 0

    def __post_init__(self) -> None:
        units = enumerate(self.blocks)
        parameters = sum(number * 17 * int(64 * self.width_factor * 2**stage) ** 2 for stage, number in units)
        if parameters > MAX_PARAMETERS:
            why = explain_size(parameters, f"model.blocks={list(self.blocks)}")
            raise OptionError("width_factor", self.width_factor, why)


@frozen_dataclass
class ClipResNet:
    """Image tower of CLIP's ResNets: three convolutions first, average pools for strides, attention pooling last."""

    kind: Literal["clip_resnet"]  # comes with model=NAME
    name: str  # comes with model=NAME
    blocks: tuple[Blocks, Blocks, Blocks, Blocks]  # units in each of the four stages
    width: Annotated[int, Field(gt=0, le=8_192, multiple_of=2)]  # channels after the first three convolutions
    heads: Features  # heads of the attention pooling, over 32 * width channels
    features: Features  # features of the pooled vector

    stride: ClassVar[int] = 32  # side of a place in the last feature map, in pixels

    def __post_init__(self) -> None:
        if 32 * self.width % self.heads:
            raise OptionError("heads", self.heads, f"must divide 32 * model.image.width={32 * self.width}.")
        parameters = sum(number * 17 * (self.width * 2**stage) ** 2 for stage, number in enumerate(self.blocks))
        if parameters + 4 * (32 * self.width) ** 2 > MAX_PARAMETERS:
            raise OptionError("width", self.width, explain_size(parameters, f"model.image.blocks={list(self.blocks)}"))

    def check_resolution(self, res: int) -> None:
        """Raise an OptionError, with the two nearest sizes that fit, if the last feature map would be cut."""
        check_multiple(self.name, res, self.stride)


@frozen_dataclass
class ResNet:
    """ResNet with batch norm, plain, with attention beside its 3x3 convolutions, or with attention in their place."""

    kind: Literal["resnet"]  # comes with model=NAME
    name: str  # comes with model=NAME
    block: Literal["basic", "bottleneck", "wide"]  # two 3x3 convolutions; 1x1, 3x3, 1x1; two with norms before them
    blocks: Stages  # blocks in each stage
    width: Features  # channels of the first stage's blocks; they double in each stage
    stem: Literal["conv", "small", "attention"]  # 7x7 convolution and pool, 3x3 for small images, or attention
    attention: Literal["none", "augmented", "alone"]  # beside convolutions (arXiv 1904.09925), or alone (1906.05909)
    stages: Annotated[int, Field(ge=0, le=8)]  # how many of the last stages have attention
    heads: Features  # heads of the attention
    kappa: Annotated[float, Field(gt=0, le=1)]  # share of the channels for keys, with attention=augmented
    upsilon: Annotated[float, Field(gt=0, le=1)]  # share of the channels that attention makes, with attention=augmented
    window: Annotated[int, Field(ge=3, le=63)]  # side of the window, with attention=alone; odd
    border: Literal["zero", "masked"]  # keys outside the image with attention=alone: zeros, or none
    dropout: Fraction = 0.0  # rate before the head
    stochastic_depth: Fraction = 0.0  # rate at which the last block is skipped; it rises linearly from 0

    stride: ClassVar[int] = 1  # takes any resolution, but attention=alone with a stem of attention needs multiples of 4

    def __post_init__(self) -> None:
        if self.window % 2 == 0:
            raise OptionError("window", self.window, "must be odd.")
        if self.stages > len(self.blocks):
            raise OptionError("stages", self.stages, f"is more than the {len(self.blocks)} of model.blocks.")
        if self.attention != "none" and not self.stages:
            why = f"leaves no stage for model.attention={self.attention}: set it to 1 or more."
            raise OptionError("stages", self.stages, why)
        if self.attention == "alone" and self.width % (2 * self.heads):
            raise OptionError("heads", self.heads, f"must divide half of model.width={self.width}.")
        if self.block == "wide" and self.stem == "attention":
            raise OptionError(
                "stem", self.stem, "ends with a norm, which model.block=wide begins with: choose conv or small."
            )
        if (
            self.attention == "augmented"
            and self.width * 2 ** (len(self.blocks) - self.stages) * self.upsilon < self.heads
        ):
            why = f"leaves less than one channel for each of model.heads={self.heads}."
            raise OptionError("upsilon", self.upsilon, why)
        widths = [self.width * 2**stage for stage in range(len(self.blocks))]
        parameters = sum(17 * width**2 * units for width, units in zip(widths, self.blocks))
        if parameters > MAX_PARAMETERS:
            raise OptionError("width", self.width, explain_size(parameters, f"model.blocks={list(self.blocks)}"))

    @property
    def expansion(self) -> int:
        """Return how many times the channels of its 3x3 convolution a block's output has."""
        return EXPANSION if self.block == "bottleneck" else 1

    @property
    def stem_channels(self) -> int:
        """Return the channels after the stem: those of the first stage, in wide networks 16."""
        return 16 if self.block == "wide" else self.width

    def augmented_channels(self, out: int) -> tuple[int, int]:
        """Return the channels of keys and values beside a convolution with ``out`` channels in all, by all heads."""
        key = max(MIN_HEAD_KEYS * self.heads, int(self.kappa * out) // self.heads * self.heads)
        return key, int(self.upsilon * out) // self.heads * self.heads

    def pools(self, side: int) -> bool:
        """Return whether attention works at half of a map's ``side``: of large ones (arXiv 1904.09925, section 3.3)."""
        return self.stem != "small" and side >= POOLED_SIDE

    def check_resolution(self, res: int) -> None:
        """Raise an OptionError if images of ``res`` pixels do not fit a stem of attention."""
        if self.stem == "attention":
            check_multiple(self.name, res, 4)
