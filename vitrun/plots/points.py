"""What figures are drawn of: numbers in the units that the axes name. Importing this does not load matplotlib."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """Values of one run, or of one model, over x."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    ci95: Sequence[float] | None = None  # half the 95 % confidence interval of each y
    source: str = ""  # where published numbers are printed; empty for a run


@dataclass(frozen=True)
class Point:
    """One model at one x and y."""

    label: str
    x: float
    y: float
    family: str = ""  # models of one family have one colour and marker
    source: str = ""  # where published numbers are printed; empty for a run


@dataclass(frozen=True)
class Scores:
    """Accuracies of one model by task, in percent."""

    label: str
    values: Mapping[str, float]
    source: str = ""  # where published numbers are printed; empty for a run


@dataclass(frozen=True)
class Panel:
    """Part of a figure that has axes of its own."""

    quantity: str  # of y, with its unit
    items: Sequence[Curve | Point]
    ticks: Sequence[float] = ()  # of x; empty for those of the curves
