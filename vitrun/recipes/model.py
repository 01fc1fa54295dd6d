"""Model architectures: the rows of ``conf/model``."""

from dataclasses import field
from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue, PositiveFloat

from vitrun.recipes.base import Fraction, OptionError, Pixels, frozen_dataclass

Features = Annotated[int, Field(gt=0, le=1_000_000)]
Blocks = Annotated[int, Field(gt=0, le=1_000)]
Channels = Annotated[int, Field(ge=0, le=8_192)]
Stages = Annotated[tuple[Blocks, ...], Field(max_length=8)]
MAX_PARAMETERS = 100 * 10**9  # ViT-22B, the largest published, has 22 billion (arXiv 2302.05442)
MAX_TOKENS = 1_000_000  # of an image
VOCABULARIES = {"clip": 49_408, "bytes": 258}  # number of tokens of each tokenizer
POOLED_SIDE = 28  # pixels of a feature map that is pooled before attention beside a convolution
MIN_HEAD_KEYS = 20  # channels of a head's keys beside a convolution, at least (arXiv 1904.09925, section 4)
EXPANSION = 4  # the output of a unit of a ResNet has four times the channels of its 3x3 convolution


def explain_size(parameters: int, other: str) -> str:
    """Return the message about a model with too many parameters, with the option that multiplies them."""
    limit = f"{MAX_PARAMETERS / 1e9:.0f} billion"
    return f"with {other} makes {parameters / 1e9:,.0f} billion parameters: at most {limit}."


def check_multiple(name: str, res: int, stride: int) -> None:
    """Raise an OptionError, with the two nearest sizes that fit, if ``res`` is no multiple of a model's ``stride``."""
    if res % stride:
        below, above = res - res % stride, res - res % stride + stride
        near = f"{below} and {above}" if below else f"{above} and {above + stride}"
        why = f"is not a multiple of {stride}, the stride of {name}. The nearest that fit: {near}."
        raise OptionError("res", res, why)


@frozen_dataclass
class ViT:
    """Vision transformer, or a hybrid if the ``stem`` of a ResNet precedes it."""

    kind: Literal["vit"]  # comes with model=NAME
    name: str  # comes with model=NAME
    patch: Pixels  # side of a patch, in pixels of the image or of the ResNet's feature map
    width: Features  # features of a token
    depth: Blocks  # blocks
    heads: Features  # heads of the attention
    mlp: Features  # hidden features of the MLPs
    stem: Annotated[
        int, Field(ge=0, le=8_192)
    ]  # channels of the stem of the ResNet before the transformer; 0 for a pure ViT, without ResNet
    resnet: Annotated[
        tuple[Blocks, ...], Field(max_length=8)
    ]  # blocks in each stage of that ResNet; [] for a stem alone
    head: Literal["token", "gap", "map"]  # the features to classify: class token, mean of the tokens, attention pooling
    pre_logits: bool  # a hidden layer with tanh before the head
    # position embeddings: one a token, none, one a row and one a column, by the distance of two tokens, or fixed sines
    positions: Literal["learned", "none", "2d", "relative", "sincos2d"]
    # where they are added: before the first block (stem), or before every block, each its own (every) or one (shared)
    positions_at: Literal["stem", "every", "shared"]
    gelu: Literal["tanh", "exact", "quick"]  # activation of the MLPs: flax's GELU, torch's, or x sigmoid(1.702 x)
    epsilon: PositiveFloat  # added to the variance in every LayerNorm
    norm_pre: bool  # a LayerNorm after the embeddings and positions, as in CLIP
    dropout: Fraction  # rate, after the embeddings and in the MLPs
    stochastic_depth: Fraction  # rate at which the last block is skipped; it rises linearly from 0: timm's drop_path

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise OptionError("width", self.width, f"must be a multiple of model.heads={self.heads}.")
        parts = {"2d": 2, "sincos2d": 4}.get(self.positions, 1)  # a row and a column, a sine and a cosine of each
        if self.width % parts:
            raise OptionError(
                "width", self.width, f"must be a multiple of {parts} for model.positions={self.positions}."
            )
        if self.stem % 32:
            raise OptionError("stem", self.stem, "must be a multiple of 32, the groups of its normalisation.")
        if self.resnet and not self.stem:
            raise OptionError("resnet", self.resnet, "needs a stem: set model.stem=64, or model.resnet=[].")

        if self.parameters > MAX_PARAMETERS:
            raise OptionError("width", self.width, explain_size(self.parameters, f"model.depth={self.depth}"))

    @property
    def parameters(self) -> int:
        """Return the parameters of the blocks and embeddings, which are nearly all: 4 D^2 + 2 D M in each block."""
        channels = self.stem * 2 ** max(len(self.resnet) - 1, 0) * EXPANSION if self.stem else 3
        resnet = sum(units * 17 * (self.stem * 2**stage) ** 2 for stage, units in enumerate(self.resnet))
        block = 4 * self.width**2 + 2 * self.width * self.mlp
        return resnet + self.patch**2 * channels * self.width + self.depth * block

    @property
    def stride(self) -> int:
        """Return the side of a token in pixels of the image."""
        return self.patch * (4 * 2 ** max(len(self.resnet) - 1, 0) if self.stem else 1)

    def check_resolution(self, res: int) -> None:
        """Raise an OptionError, with the two nearest sizes that fit, if tokens do not tile images of ``res`` pixels."""
        check_multiple(self.name, res, self.stride)
        if (tokens := (res // self.stride) ** 2) > MAX_TOKENS:
            why = f"makes {tokens:,} tokens of an image, with patches of {self.stride} pixels: at most {MAX_TOKENS:,}."
            raise OptionError("res", res, why)


@frozen_dataclass
class BiT:
    """Pre-activation ResNet with group norm and weight standardisation (arXiv 1912.11370)."""

    kind: Literal["bit"]  # comes with model=NAME
    name: str  # comes with model=NAME
    blocks: tuple[Blocks, Blocks, Blocks, Blocks]  # units in each of the four stages
    width_factor: Annotated[float, Field(gt=0, le=64)]  # times the channels of a ResNet
    border: Literal["zero", "none"]  # padding of the stem's max-pool: zero as big_transfer and timm, none as big_vision

    def __post_init__(self) -> None:
        units = enumerate(self.blocks)
        parameters = sum(number * 17 * int(64 * self.width_factor * 2**stage) ** 2 for stage, number in units)
        if parameters > MAX_PARAMETERS:
            why = explain_size(parameters, f"model.blocks={list(self.blocks)}")
            raise OptionError("width_factor", self.width_factor, why)


@frozen_dataclass
class Timm:
    """Any architecture of timm, as a baseline."""

    kind: Literal["timm"]  # comes with model=NAME
    name: str  # the architecture, any of timm.list_models()
    options: dict[str, JsonValue] = field(default_factory=dict)  # arguments of timm.create_model


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
class TextTower:
    """Text tower of a CLIP: a causal transformer, whose feature is that of the end token."""

    width: Features  # features of a token
    depth: Blocks  # blocks
    heads: Features  # heads of the attention
    mlp: Features  # hidden features of the MLPs
    tokens: Literal["clip", "bytes", "unknown"]  # the tokenizer: CLIP's BPE, the bytes of UTF-8, or that of the weights
    vocabulary: Annotated[int, Field(ge=2, le=10_000_000)]  # number of tokens; the last is the end token
    context: Annotated[int, Field(ge=2, le=100_000)]  # most tokens of a text, the start and the end token included
    gelu: Literal["tanh", "exact", "quick"]  # activation of the MLPs: flax's GELU, torch's, or x sigmoid(1.702 x)
    epsilon: PositiveFloat  # added to the variance in every LayerNorm
    dropout: Fraction  # rate, in the blocks

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise OptionError("width", self.width, f"must be a multiple of model.text.heads={self.heads}.")
        if (known := VOCABULARIES.get(self.tokens)) and self.vocabulary != known:
            raise OptionError("vocabulary", self.vocabulary, f"is {known} for model.text.tokens={self.tokens}.")
        if self.depth * (4 * self.width**2 + 2 * self.width * self.mlp) > MAX_PARAMETERS:
            why = explain_size(self.depth * 4 * self.width**2, f"model.text.depth={self.depth}")
            raise OptionError("width", self.width, why)


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
class IGpt:
    """ImageGPT (Chen et al. 2020): a transformer that reads the colours of an image's pixels."""

    kind: Literal["igpt"]  # comes with model=NAME
    name: str  # comes with model=NAME
    width: Features  # features of a token
    depth: Blocks  # blocks
    heads: Features  # heads of the attention
    mlp: Features  # hidden features of the MLPs
    colours: Annotated[int, Field(ge=2, le=65_536)]  # number of colours, which are its tokens
    causal: bool  # whether a pixel attends only to those before it; objective=pixels sets it, pixels_bert unsets it
    start: bool  # whether a start token precedes the pixels, of which the last is then not read; set as causal
    epsilon: PositiveFloat  # added to the mean square in every norm
    bias: bool  # biases in the dense layers, as in transformers; none in the published code
    gelu: Literal["tanh", "exact", "quick"]  # activation of the MLPs: flax's GELU, torch's, or x sigmoid(1.702 x)

    stride: ClassVar[int] = 1  # side of a token, in pixels

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise OptionError("width", self.width, f"must be a multiple of model.heads={self.heads}.")
        parameters = self.depth * (4 * self.width**2 + 2 * self.width * self.mlp) + 2 * self.colours * self.width
        if parameters > MAX_PARAMETERS:
            raise OptionError("width", self.width, explain_size(parameters, f"model.depth={self.depth}"))

    def check_resolution(self, res: int) -> None:
        """Raise an OptionError if images of ``res`` pixels have too many tokens, one for each pixel."""
        if res**2 > MAX_TOKENS:
            why = f"makes {res**2:,} tokens of an image, one for each pixel: at most {MAX_TOKENS:,}."
            raise OptionError("res", res, why)


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

    stride: ClassVar[int] = 1  # takes any resolution, but attention=alone with a stem of attention needs multiples of 4

    def __post_init__(self) -> None:
        if self.window % 2 == 0:
            raise OptionError("window", self.window, "must be odd.")
        if self.stages > len(self.blocks):
            raise OptionError("stages", self.stages, f"is more than the {len(self.blocks)} of model.blocks.")
        if self.attention == "alone" and self.width % (2 * self.heads):
            raise OptionError("width", self.width, f"must be a multiple of 2 * model.heads={self.heads}.")
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


@frozen_dataclass
class ModelInfo:
    """Keys of a model's file that are not options and no part of a recipe."""

    paper: str | None = None  # the model's name in papers, as in "B/16"
    weights: tuple[str, ...] = ()  # published weights, each as ``init=`` takes it


Model = Annotated[ViT | BiT | Timm | ClipResNet | Clip | IGpt | ResNet, Field(discriminator="kind")]
