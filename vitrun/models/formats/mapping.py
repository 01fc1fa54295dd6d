"""The mapping between a tensor of vitrun and those of another layout, in both directions."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import isfinite

from torch import Tensor

from vitrun.models.tensor_files import JsonObject, Weights
from vitrun.recipes import Model


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
    model: Model
    res: int | None  # None if the file does not give it
    classes: int | None  # None if there is no head
    mappings: list[TensorMapping]
    ignored: dict[str, list[str]] = field(default_factory=dict)  # reason -> tensors that are not part of the network
    notes: list[str] = field(default_factory=list)
    normalization: tuple[list[float], list[float]] | None = None  # mean and std of training images, if not 0.5
    names: tuple[str, ...] = ()  # of the classes, if the file gives them
    zeros: tuple[str, ...] = ()  # tensors of vitrun that the file's network lacks, and that are zero for it

    def unused_names(self) -> list[str]:
        """Return the names in the file that are neither mapped nor ignored."""
        known = {name for mapping in self.mappings for name in mapping.theirs}
        known |= {name for names in self.ignored.values() for name in names}
        return [name for name in self.weights if name not in known]


def map_same(ours: str, theirs: str) -> TensorMapping:
    """Map a tensor unchanged."""
    return TensorMapping(ours, (theirs,), lambda t: t, lambda t: (t,))


def map_layers(pairs: Iterable[tuple[str, str]]) -> list[TensorMapping]:
    """Map the weight and the bias of layers unchanged; ``pairs`` are the names of a layer in vitrun and there."""
    return [map_same(f"{ours}.{part}", f"{theirs}.{part}") for ours, theirs in pairs for part in ("weight", "bias")]


def map_vector(ours: str, theirs: str, ones: int = 0) -> TensorMapping:
    """Map a vector [C] and an array with axes of size 1 around it; the inverse puts ``ones`` of these before it."""
    return TensorMapping(ours, (theirs,), lambda t: t.flatten(), lambda t: (t.view(*[1] * ones, -1),))


def map_scalar(ours: str, theirs: str) -> TensorMapping:
    """Map a vector of one number and a tensor without axes."""
    return TensorMapping(ours, (theirs,), lambda t: t.reshape(1), lambda t: (t.reshape(()),))


def map_transposed(ours: str, theirs: str) -> TensorMapping:
    """Map a matrix and its transpose."""
    return TensorMapping(ours, (theirs,), lambda t: t.T, lambda t: (t.T,))


def map_leading(ours: str, theirs: str, ones: int) -> TensorMapping:
    """Map a tensor with that many axes of size 1 before those of the other."""
    return TensorMapping(ours, (theirs,), lambda t: t.view(*[1] * ones, *t.shape), lambda t: (t.view(t.shape[ones:]),))


def map_kernel(ours: str, theirs: str) -> TensorMapping:
    """Map a convolution's [out, in, h, w] and JAX's [h, w, in, out]."""
    return TensorMapping(ours, (theirs,), lambda t: t.permute(3, 2, 0, 1), lambda t: (t.permute(2, 3, 1, 0),))


def map_dense(ours: str, theirs: str) -> list[TensorMapping]:
    """Map a dense layer's weight [out, in] and JAX's kernel [in, out], and its bias."""
    weight = TensorMapping(f"{ours}.weight", (f"{theirs}/kernel",), lambda t: t.T, lambda t: (t.T,))
    return [weight, map_same(f"{ours}.bias", f"{theirs}/bias")]


def map_classifier(ours: str, theirs: str) -> TensorMapping:
    """Map a dense weight [C, D] and a 1x1 convolution [C, D, 1, 1]; read a dense weight too."""
    return TensorMapping(ours, (theirs,), lambda kernel: kernel.flatten(1), lambda weight: (weight[:, :, None, None],))


def label_names(config: JsonObject, classes: int | None) -> tuple[str, ...]:
    """Return the names of the classes in timm's ``config.json``, in the order of the head; none if it has none.

    Raise a ValueError if they are not as many as the classes.
    """
    labels = config.get("label_names") or (config.get("pretrained_cfg") or {}).get("label_names") or ()
    by_number = labels if isinstance(labels, dict) else dict(enumerate(labels))
    named = {int(number): str(name) for number, name in by_number.items()}
    if not classes or not named:
        return ()
    if sorted(named) != list(range(classes)):
        raise ValueError(f"config.json has {len(named)} label_names, but the head has {classes} classes")
    return tuple(named[number] for number in range(classes))


def drop_absent(mappings: list[TensorMapping], weights: Weights, part: str) -> tuple[list[TensorMapping], list[str]]:
    """Return the mappings without those of the tensors ``part`` that the file has nowhere, and the names of these."""
    absent = [m.ours for m in mappings if m.ours.endswith(part) and not any(name in weights for name in m.theirs)]
    if len(absent) < sum(m.ours.endswith(part) for m in mappings):  # in some layers only: damaged
        return mappings, []
    return [m for m in mappings if m.ours not in absent], absent


def parse_normalization(config: JsonObject, mean: str, std: str) -> tuple[list[float], list[float]] | None:
    """Return mean and std of three channels from ``config``; None for 0.5, which is images in [-1, 1]."""
    means, stds = ([float(value) for value in config.get(key) or [0.5] * 3] for key in (mean, std))
    return check_normalization(means, stds)


def check_normalization(means: list[float], stds: list[float]) -> tuple[list[float], list[float]] | None:
    """Return mean and std; None for 0.5. Raise a ValueError if they are not those of three channels."""
    if not len(means) == len(stds) == 3 or not all(map(isfinite, [*means, *stds])) or min(stds) <= 0:
        raise ValueError(f"its images are normalised by mean {means} and std {stds}, not by three numbers each")
    return None if means == stds == [0.5] * 3 else (means, stds)


def rename(name: str, rules: Iterable[tuple[str, str]]) -> str:
    """Return ``name`` after each substitution of a pattern by a replacement, in order."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
