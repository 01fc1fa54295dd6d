"""Accelerators of the table ``conf/accelerator``, for which ``on=`` plans a run."""

import re
from typing import Annotated, NamedTuple

from pydantic import Field, PositiveFloat

from vitrun.errors import UserError, lookup
from vitrun.recipes import tables
from vitrun.recipes.base import frozen_dataclass

MAX_DEVICES = 100_000


@frozen_dataclass
class Accelerator:
    """Published memory and peak speed of one device."""

    name: str
    memory_gb: PositiveFloat  # GB (1e9 bytes)
    tflops: PositiveFloat  # TFLOP/s of matrix products in bfloat16, without sparsity
    utilization: Annotated[float, Field(gt=0, le=1)]  # share of the peak that a run is assumed to reach
    source: str  # where the figures are published
    read: bool  # whether that page was read, and not a quotation of it


class Devices(NamedTuple):
    """Devices of one kind, one rank each."""

    kind: Accelerator
    number: int

    def __str__(self) -> str:
        return f"{self.number} x {self.kind.name}"


def parse_devices(text: str) -> Devices:
    """Return the devices that ``h100x8`` names; raise UserError if there is no such kind or number."""
    name, number = re.fullmatch(r"(.*?)(?:x(\d+))?", text, re.DOTALL).groups()  # type: ignore[union-attr]
    count = int(number or 1)
    if not 1 <= count <= MAX_DEVICES:
        raise UserError(f"is not 1 to {MAX_DEVICES:,} devices, as in on=h100x8.", option="on", value=text)
    lookup(tables.list_group_files("accelerator"), name, "accelerator", "on")
    row = tables.read_row("accelerator", name)
    return Devices(tables.check_row(Accelerator, "accelerator", name, row), count)
