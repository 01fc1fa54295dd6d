"""How timm's ResNets, whose epsilons are not the published ones, are made to compute the published networks.

timm standardises kernels by ``sqrt(variance + 1e-8)``; big_transfer has 1e-10 there, vit_jax ``deviation + 1e-5``. In
the hybrids timm's group norm has 1e-5, vit_jax 1e-6. Kernels are standardised and activations normed, so that but for
the epsilons a network stays the same when they are scaled: the right scale gives an epsilon its published effect. Only
the first norm of a hybrid, which meets the image itself, keeps timm's.
"""

from collections.abc import Callable
from dataclasses import replace
from math import sqrt

from torch import Tensor

from vitrun.models.formats.mapping import TensorMapping

BIT_SCALE = 8  # of a kernel: sqrt(1e-8 / 1e-10) to the nearest power of two, which rounds no number
ACTIVATION_SCALE = sqrt(1e-5 / 1e-6)  # of every activation of a hybrid's trunk


def rescale_for_timm(entries: list[TensorMapping], hybrid: bool) -> list[TensorMapping]:
    """The entries of a network with a ResNet, the tensors scaled on the way to timm and back on the way from it."""
    return [rescale_mapping(entry, hybrid) for entry in entries]


def rescale_mapping(entry: TensorMapping, hybrid: bool) -> TensorMapping:
    """An entry of one tensor, scaled where it is of the ResNet."""
    name = entry.ours
    if hybrid and name == "patch_embed.proj.weight":
        return with_scales(entry, lambda _: 1 / ACTIVATION_SCALE, lambda _: ACTIVATION_SCALE)
    if hybrid and not name.startswith("patch_embed.backbone."):
        return entry
    if name.endswith(("conv.weight", "conv1.weight", "conv2.weight", "conv3.weight")):
        return (
            with_scales(entry, scale_to_timm, scale_from_timm)
            if hybrid
            else with_scales(entry, lambda _: BIT_SCALE, lambda _: 1 / BIT_SCALE)
        )
    return with_scales(entry, lambda _: ACTIVATION_SCALE, lambda _: 1 / ACTIVATION_SCALE) if hybrid else entry


def with_scales(
    entry: TensorMapping, away: Callable[[Tensor], Tensor | float], back: Callable[[Tensor], Tensor | float]
) -> TensorMapping:
    """The entry with its tensor multiplied by ``away`` of it when given, and by ``back`` of it when taken."""

    def take(tensor: Tensor) -> Tensor:
        return entry.convert(tensor * back(tensor))

    def give(tensor: Tensor) -> tuple[Tensor, ...]:
        return tuple(part * away(part) for part in entry.invert(tensor))

    return replace(entry, convert=take, invert=give)


def scale_to_timm(kernels: Tensor) -> Tensor:
    """The scale of each kernel, of deviation s, that makes of s / sqrt(s^2 + 1e-8) the published s / (s + 1e-5)."""
    return 1e-4 / (1e-5 * (2 * kernel_std(kernels) + 1e-5)).sqrt()


def scale_from_timm(kernels: Tensor) -> Tensor:
    """The inverse of :func:`scale_to_timm`, by the deviation c that it left: s^2 = 1000 c^2 (2 s + 1e-5) solved for s."""
    c = kernel_std(kernels)
    s = 1000 * c**2 + (1e6 * c**4 + 1e-2 * c**2).sqrt()
    return s / c


def kernel_std(kernels: Tensor) -> Tensor:
    """That of each kernel [out, c, k, k], as [out, 1, 1, 1]."""
    return kernels.std((1, 2, 3), correction=0, keepdim=True)
