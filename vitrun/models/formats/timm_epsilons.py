"""Scale tensors so that timm's ResNets, which have other epsilons, compute the published networks.

timm standardises kernels by ``sqrt(variance + 1e-8)``; big_transfer has 1e-10 there, vit_jax ``deviation + 1e-5``. In
hybrids timm's group norm has 1e-5, vit_jax's 1e-6. Since kernels are standardised and activations normalised, scaling
them changes nothing but the effect of the epsilons, and the right scale gives them the published effect. Only the
first norm of a hybrid, whose input comes from the image, keeps timm's epsilon.

The LayerNorms of timm's ViTs have the epsilon 1e-6; scaling all that is added to the tokens gives them another one.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from math import sqrt

from torch import Tensor

from vitrun.models.formats.mapping import TensorMapping
from vitrun.recipes import ViT

BIT_SCALE = 8  # of a kernel: sqrt(1e-8 / 1e-10), to the nearest power of two so that nothing is rounded
TIMM_EPSILON = 1e-6  # of every LayerNorm of timm's ViTs
MAX_TOKEN_SCALE = 32  # the effect of epsilons below 1e-9 is smaller than float32's rounding, and float16 overflows
TOKEN_TENSORS = re.compile(r"cls_token|pos_embed|norm_pre\..*|.*\.(proj|mlp\.fc2)\.(weight|bias)")
ACTIVATION_SCALE = sqrt(1e-5 / 1e-6)  # of every activation of a hybrid's trunk


def rescale_for_timm(mappings: list[TensorMapping], hybrid: bool) -> list[TensorMapping]:
    """Return the mappings of a network with a ResNet, with its tensors scaled to timm and back from it."""
    return [rescale_mapping(mapping, hybrid) for mapping in mappings]


def rescale_tokens(mappings: list[TensorMapping], model: ViT) -> list[TensorMapping]:
    """Return the mappings of a ViT with all that is added to its tokens scaled, for the epsilon of timm's LayerNorms.

    The head of attention pooling, which reads tokens without a norm, is scaled back.
    """
    scale = min(sqrt(TIMM_EPSILON / model.epsilon), MAX_TOKEN_SCALE)
    if scale == 1:
        return mappings

    def rescale(mapping: TensorMapping) -> TensorMapping:
        if TOKEN_TENSORS.fullmatch(mapping.ours):
            return with_scales(mapping, lambda _: scale, lambda _: 1 / scale)
        if mapping.ours == "head.weight" and model.head == "map":
            return with_scales(mapping, lambda _: 1 / scale, lambda _: scale)
        return mapping

    return [rescale(mapping) for mapping in mappings]


def rescale_mapping(mapping: TensorMapping, hybrid: bool) -> TensorMapping:
    """Return the mapping of one tensor, scaled if it is part of the ResNet."""
    name = mapping.ours
    if hybrid and name == "patch_embed.proj.weight":
        return with_scales(mapping, lambda _: 1 / ACTIVATION_SCALE, lambda _: ACTIVATION_SCALE)
    if hybrid and not name.startswith("patch_embed.backbone."):
        return mapping
    if name.endswith(("conv.weight", "conv1.weight", "conv2.weight", "conv3.weight")):
        if hybrid:
            return with_scales(mapping, scale_to_timm, scale_from_timm)
        return with_scales(mapping, lambda _: BIT_SCALE, lambda _: 1 / BIT_SCALE)
    return with_scales(mapping, lambda _: ACTIVATION_SCALE, lambda _: 1 / ACTIVATION_SCALE) if hybrid else mapping


def with_scales(
    mapping: TensorMapping, to_timm: Callable[[Tensor], Tensor | float], from_timm: Callable[[Tensor], Tensor | float]
) -> TensorMapping:
    """Return the mapping with timm's tensor multiplied by the scale that each function returns for it."""

    def convert(tensor: Tensor) -> Tensor:
        return mapping.convert(tensor * from_timm(tensor))

    def invert(tensor: Tensor) -> tuple[Tensor, ...]:
        return tuple(part * to_timm(part) for part in mapping.invert(tensor))

    return replace(mapping, convert=convert, invert=invert)


def scale_to_timm(kernels: Tensor) -> Tensor:
    """Return the scale of each kernel, of deviation s, that turns s / sqrt(s^2 + 1e-8) into s / (s + 1e-5)."""
    return 1e-4 / (1e-5 * (2 * kernel_std(kernels) + 1e-5)).sqrt()


def scale_from_timm(kernels: Tensor) -> Tensor:
    """Return the inverse of :func:`scale_to_timm` for scaled kernels, of deviation c: s^2 = 1000 c^2 (2 s + 1e-5)."""
    c = kernel_std(kernels)
    s = 1000 * c**2 + (1e6 * c**4 + 1e-2 * c**2).sqrt()
    return s / c


def kernel_std(kernels: Tensor) -> Tensor:
    """Return the deviation of each kernel: [out, c, k, k] -> [out, 1, 1, 1]."""
    return kernels.std((1, 2, 3), correction=0, keepdim=True)
