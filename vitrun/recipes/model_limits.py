"""Types and limits of the sizes of a model."""

from typing import Annotated

from pydantic import Field

from vitrun.recipes.base import OptionError

Features = Annotated[int, Field(gt=0, le=1_000_000)]
Blocks = Annotated[int, Field(gt=0, le=1_000)]
Stages = Annotated[tuple[Blocks, ...], Field(max_length=8)]
MAX_PARAMETERS = 100 * 10**9  # ViT-22B, the largest published, has 22 billion (arXiv 2302.05442)
MAX_TOKENS = 1_000_000  # of an image
EXPANSION = 4  # the output of a unit of a ResNet has four times the channels of its 3x3 convolution


def explain_size(parameters: int, other: str) -> str:
    """Return the message about a model with too many parameters, with the option that multiplies them."""
    limit = f"{MAX_PARAMETERS / 1e9:.0f} billion"
    return f"with {other} makes {parameters / 1e9:,.0f} billion parameters: at most {limit}."


def check_multiple(name: str, res: int, stride: int) -> None:
    """Raise an OptionError that names the nearest sizes that fit, if ``res`` is not a multiple of ``stride``."""
    if res % stride:
        below, above = res - res % stride, res - res % stride + stride
        near = f"{below} and {above}" if below else f"{above} and {above + stride}"
        why = f"is not a multiple of {stride}, the stride of {name}. The nearest that fit: {near}."
        raise OptionError("res", res, why)


def check_heads(width: int, heads: int, option: str = "model.heads") -> None:
    """Raise an OptionError if the features of a token cannot be divided among the ``heads`` of an ``option``."""
    if width % heads:
        raise OptionError("width", width, f"must be a multiple of {option}={heads}.")
