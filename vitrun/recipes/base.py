"""What all parts of a recipe are: frozen, checked, every field required."""

from typing import Annotated, TypeVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

frozen_dataclass = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))

T = TypeVar("T")
NonEmpty = Annotated[tuple[T, ...], Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


def check_unique(option: str, values: tuple) -> None:
    """A ValueError where a list has a value twice."""
    if repeated := [value for value in values if values.count(value) > 1]:
        raise ValueError(f"{option} has {repeated[0]} twice: keep one")
