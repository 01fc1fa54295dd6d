"""Transformers among the rows of ``conf/model``: of patches, of pixels and of texts."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat

from vitrun.recipes.base import Fraction, OptionError, Pixels, frozen_dataclass
from vitrun.recipes.model_limits import (
    EXPANSION,
    MAX_PARAMETERS,
    MAX_TOKENS,
    Blocks,
    Features,
    check_heads,
    check_multiple,
    explain_size,
)

VOCABULARIES = {"clip": 49_408, "bytes": 258}  # number of tokens of each tokenizer


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
    # channels of the stem of the ResNet before the transformer; 0 for a pure ViT, without ResNet
    stem: Annotated[int, Field(ge=0, le=8_192)]
    # blocks in each stage of that ResNet; [] for a stem alone
    resnet: Annotated[tuple[Blocks, ...], Field(max_length=8)]
    head: Literal["token", "gap", "map"]  # the features to classify: class token, mean of the tokens, attention pooling
    pre_logits: bool  # a hidden layer with tanh before the head
    # position embeddings: one per token, none, one per row and column, by the distance of two tokens, or fixed sines
    positions: Literal["learned", "none", "2d", "relative", "sincos2d"]
    # where they are added: before the first block (stem), or before every block, each its own (every) or one (shared)
    positions_at: Literal["stem", "every", "shared"]
    gelu: Literal["tanh", "exact", "quick"]  # activation of the MLPs: flax's GELU, torch's, or x sigmoid(1.702 x)
    epsilon: PositiveFloat  # added to the variance in every LayerNorm
    norm_pre: bool  # a LayerNorm after the embeddings and positions, as in CLIP
    dropout: Fraction  # rate, after the embeddings and in the MLPs
    stochastic_depth: Fraction  # rate at which the last block is skipped; it rises linearly from 0: timm's drop_path

    def __post_init__(self) -> None:
        check_heads(self.width, self.heads)
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
        check_heads(self.width, self.heads)
        parameters = self.depth * (4 * self.width**2 + 2 * self.width * self.mlp) + 2 * self.colours * self.width
        if parameters > MAX_PARAMETERS:
            raise OptionError("width", self.width, explain_size(parameters, f"model.depth={self.depth}"))

    def check_resolution(self, res: int) -> None:
        """Raise an OptionError if images of ``res`` pixels have too many tokens, one for each pixel."""
        if res**2 > MAX_TOKENS:
            why = f"makes {res**2:,} tokens of an image, one for each pixel: at most {MAX_TOKENS:,}."
            raise OptionError("res", res, why)


@frozen_dataclass
class TextTower:
    """Text tower of a CLIP: a causal transformer, whose feature is that of the end token."""

    width: Features  # features of a token
    depth: Blocks  # blocks
    heads: Features  # heads of the attention
    mlp: Features  # hidden features of the MLPs
    tokens: Literal["clip", "bytes", "unknown"]  # the tokenizer: CLIP's BPE, the bytes of UTF-8, or that of the weights
    vocabulary: Annotated[int, Field(ge=2, le=10_000_000)]  # number of tokens; the last is the end token
    context: Annotated[int, Field(ge=3, le=100_000)]  # most tokens of a text, the start and the end token included
    gelu: Literal["tanh", "exact", "quick"]  # activation of the MLPs: flax's GELU, torch's, or x sigmoid(1.702 x)
    epsilon: PositiveFloat  # added to the variance in every LayerNorm
    dropout: Fraction  # rate, in the blocks

    def __post_init__(self) -> None:
        check_heads(self.width, self.heads, "model.text.heads")
        if (known := VOCABULARIES.get(self.tokens)) and self.vocabulary != known:
            raise OptionError("vocabulary", self.vocabulary, f"is {known} for model.text.tokens={self.tokens}.")
        if self.depth * (4 * self.width**2 + 2 * self.width * self.mlp) > MAX_PARAMETERS:
            why = explain_size(self.depth * 4 * self.width**2, f"model.text.depth={self.depth}")
            raise OptionError("width", self.width, why)
