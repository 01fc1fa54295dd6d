"""Base of all parts of a recipe: frozen dataclasses that check their values and have no defaults."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vitrun.errors import UserError
from vitrun.recipes.trees import format_value

T = TypeVar("T")
NonEmpty = Annotated[tuple[T, ...], Field(min_length=1)]
# Limits far above what is published: a slip of the keyboard is refused before any memory is asked for.
Pixels = Annotated[int, Field(gt=0, le=16_384)]  # side of an image
Images = Annotated[int, Field(gt=0, le=10**10)]  # of a data set
Batch = Annotated[int, Field(gt=0, le=10**7)]
Rounds = Annotated[int, Field(gt=0, le=100)]
Steps = Annotated[int, Field(gt=0, le=10**10)]
Classes = Annotated[int, Field(gt=0, le=10**7)]
Shots = Annotated[int, Field(gt=0, le=10**6)]  # images per class
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # those that torch and numpy take alike
Fraction = Annotated[float, Field(ge=0, lt=1)]
Penalty = Annotated[float, Field(gt=0, le=1e30)]  # L2; float32 has no number above 3e38
ERROR_MESSAGES = {  # clearer than those of pydantic, by the type of its error
    "path_type": "must be a path",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "too_short": "needs at least one value",
}


@dataclass_transform(frozen_default=True, kw_only_default=True)
def frozen_dataclass(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass without defaults, whose values pydantic checks; unknown keys are errors."""
    config = ConfigDict(extra="forbid", allow_inf_nan=False)
    return dataclass(cls, frozen=True, kw_only=True, config=config)  # type: ignore[return-value]


class OptionError(UserError, ValueError):
    """UserError about one option, which pydantic collects (as a ValueError).

    Raised by a part of a recipe, it names the option within that part: ``area``, where the user sets ``data.area``.
    """

    def __init__(self, option: str, value: object, message: str):
        super().__init__(message, option=option, value=format_value(value))


def check_unique(option: str, values: tuple[object, ...]) -> None:
    """Raise an OptionError if a list has a value twice."""
    if repeated := [value for value in values if values.count(value) > 1]:
        raise OptionError(option, values, f"{repeated[0]} is given twice: keep one.")


def describe_value_error(error: Mapping[str, Any]) -> str:
    """Return what is wrong with a value by pydantic's error about it: ``must be greater than 0.``."""
    if error["type"] == "union_tag_invalid":
        return f"must be one of {error['ctx']['expected_tags']}."
    if error["type"] == "missing":  # a part of a list
        number = len(error["input"])
        return f"needs more than {number} value{'s' * (number != 1)}."
    message = error["msg"].removeprefix("Input should ").replace("be", "must be", 1)
    return f"{ERROR_MESSAGES.get(error['type'], message)}."


def discriminator_of(error: Mapping[str, Any]) -> str:
    """Return the option that chooses a member of a union, of pydantic's error about it."""
    return str(error["ctx"]["discriminator"]).strip("'")
