"""The mapping between a tensor of vitrun and those of another layout, in both directions."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from torch import Tensor

from vitrun.models.tensor_files import JsonObject, Weights
from vitrun.recipes import BiT, Timm, ViT


@dataclass(frozen=True)
class TensorMapping:
    """``ours`` = ``convert(*theirs)`` and ``theirs`` = ``invert(ours)``, a tuple; both are names of tensors."""

    ours: str
    theirs: tuple[str, ...]
    convert: Callable[..., Tensor]
    invert: Callable[[Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class IdentifiedWeights:
    """The network in a file, and the tensors that it is made of."""

    weights: Weights  # by the names that ``mappings`` use
    model: ViT | BiT | Timm
    res: int | None  # None if the file does not give it
    classes: int | None  # None if there is no head
    mappings: list[TensorMapping]
    ignored: dict[str, list[str]] = field(default_factory=dict)  # reason -> tensors that are not part of the network
    notes: list[str] = field(default_factory=list)
    normalization: tuple[list[float], list[float]] | None = None  # mean and std of training images, if not 0.5
    names: tuple[str, ...] = ()  # of the classes, if the file gives them

    def unused_names(self) -> list[str]:
        """Return the names in the file that are neither mapped nor ignored."""
        known = {name for mapping in self.mappings for name in mapping.theirs}
        known |= {name for names in self.ignored.values() for name in names}
        return [name for name in self.weights if name not in known]


def map_same(ours: str, theirs: str) -> TensorMapping:
    """Map a tensor unchanged."""
    return TensorMapping(ours, (theirs,), lambda t: t, lambda t: (t,))


def map_vector(ours: str, theirs: str, ones: int = 0) -> TensorMapping:
    """Map a vector [C] and an array with axes of size 1 around it; the inverse puts ``ones`` of these before it."""
    return TensorMapping(ours, (theirs,), lambda t: t.flatten(), lambda t: (t.view(*[1] * ones, -1),))


def map_kernel(ours: str, theirs: str) -> TensorMapping:
    """Map a convolution's [out, in, h, w] and JAX's [h, w, in, out]."""
    return TensorMapping(ours, (theirs,), lambda t: t.permute(3, 2, 0, 1), lambda t: (t.permute(2, 3, 1, 0),))


def map_dense(ours: str, theirs: str) -> list[TensorMapping]:
    """Map a dense layer's weight [out, in] and JAX's kernel [in, out], and its bias."""
    weight = TensorMapping(f"{ours}.weight", (f"{theirs}/kernel",), lambda t: t.T, lambda t: (t.T,))
    return [weight, map_same(f"{ours}.bias", f"{theirs}/bias")]


def parse_normalization(config: JsonObject, mean: str, std: str) -> tuple[list[float], list[float]] | None:
    """Return mean and std of three channels from ``config``; None for 0.5, which is images in [-1, 1]."""
    means, stds = ([float(value) for value in config.get(key) or [0.5] * 3] for key in (mean, std))
    return None if means == stds == [0.5] * 3 else (means, stds)


def rename(name: str, rules: Iterable[tuple[str, str]]) -> str:
    """Return ``name`` after each substitution of a pattern by a replacement, in order."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
