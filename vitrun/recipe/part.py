"""What all parts of a recipe are: frozen, checked, every field required."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

recipe = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))

Fraction = Annotated[float, Field(ge=0, lt=1)]
