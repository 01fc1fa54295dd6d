"""How one tensor of ours is made of the tensors of another layout, and taken apart again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vitrun.models.tensor_files import Weights


@dataclass(frozen=True)
class TensorMapping:
    """``ours`` = ``take(*theirs)``, and ``theirs`` = ``give(ours)``, a tuple of tensors."""

    ours: str
    theirs: tuple[str, ...]
    convert: Callable[..., Tensor]
    invert: Callable[[Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class IdentifiedWeights:
    """What a file turned out to hold: the row of its network, and where each tensor of that is."""

    weights: Weights  # by the names that ``entries`` know
    model: Any  # the row, a recipe.ViT, BiT or Timm
    res: int | None  # None where the file does not tell
    classes: int | None  # None where it has no head
    mappings: list[TensorMapping]
    ignored: dict[str, list[str]] = field(default_factory=dict)  # why: names of tensors that are no part of the network
    notes: list[str] = field(default_factory=list)
    normalization: tuple[list[float], list[float]] | None = None  # mean and deviation of training images, where not 0.5
    names: tuple[str, ...] = ()  # of the classes, where the file tells

    def unused_names(self) -> list[str]:
        """The names in the file that have no place in the network and no reason to be ignored."""
        known = {name for entry in self.mappings for name in entry.theirs}
        known |= {name for names in self.ignored.values() for name in names}
        return [name for name in self.weights if name not in known]


def map_same(ours: str, theirs: str) -> TensorMapping:
    """The tensor as it is."""
    return TensorMapping(ours, (theirs,), lambda t: t, lambda t: (t,))


def map_vector(ours: str, theirs: str, ones: int = 0) -> TensorMapping:
    """A vector [C] of an array with any axes of one around it, given back with ``ones`` of them before it."""
    return TensorMapping(ours, (theirs,), lambda t: t.flatten(), lambda t: (t.view(*[1] * ones, -1),))


def map_kernel(ours: str, theirs: str) -> TensorMapping:
    """A convolution's [out, in, h, w] of JAX's [h, w, in, out]."""
    return TensorMapping(ours, (theirs,), lambda t: t.permute(3, 2, 0, 1), lambda t: (t.permute(2, 3, 1, 0),))


def map_dense(ours: str, theirs: str) -> list[TensorMapping]:
    """A dense layer's weight [out, in] of JAX's kernel [in, out], and its bias."""
    weight = TensorMapping(f"{ours}.weight", (f"{theirs}/kernel",), lambda t: t.T, lambda t: (t.T,))
    return [weight, map_same(f"{ours}.bias", f"{theirs}/bias")]


def parse_normalization(facts: dict, mean: str, std: str) -> tuple[list[float], list[float]] | None:
    """The mean and deviation of three channels that a description gives; None for 0.5, which is [-1, 1]."""
    found = tuple([float(value) for value in facts.get(key) or [0.5] * 3] for key in (mean, std))
    return None if found == ([0.5] * 3, [0.5] * 3) else found
