"""Convert a CLIP for libraries whose images are normalised with CLIP's mean and deviation."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from vitrun.models.clip import Clip
from vitrun.models.clip_resnet import CLIP_MEAN, CLIP_STD, ClipResNet
from vitrun.models.export.portable import export_tensors, with_learned_positions
from vitrun.models.formats.mapping import TensorMapping
from vitrun.recipes import Clip as Row


def convert_clip(
    network: Clip, map_tensors: Callable[[Row], list[TensorMapping]]
) -> tuple[Row, dict[str, Tensor], list[float]]:
    """Return the row, the tensors by another library's names, and the mean of the images in [0, 1] that they take.

    Their deviation is CLIP's.
    """
    row, tower = network.row, network.image
    if isinstance(tower, ClipResNet):
        tensors, mean = dict(tower.state_dict()), ((tower.shift + 1) / 2).flatten().tolist()
        tensors["stem.conv1.weight"] = tensors["stem.conv1.weight"] * scale_of_kernels()
    else:
        image, tensors = with_learned_positions(tower)
        row, mean = replace(row, image=image), [*CLIP_MEAN]
        unfold_normalization(tensors)
    others = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("image.")}
    tensors = {f"image.{name}": tensor for name, tensor in tensors.items()} | others
    return row, export_tensors(map_tensors(row), tensors), mean


def scale_of_kernels() -> Tensor:
    """Return the factor of a kernel for images that are divided by CLIP's deviation, [1, 3, 1, 1]."""
    return torch.tensor(CLIP_STD).view(1, 3, 1, 1) / 0.5


@torch.no_grad()
def unfold_normalization(tensors: dict[str, Tensor]) -> None:
    """Adapt the patch embedding of images in [-1, 1] for images that are normalised as CLIP's."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    kernels = tensors["patch_embed.proj.weight"] * scale_of_kernels()
    tensors["patch_embed.proj.weight"] = kernels
    positions = tensors["pos_embed"].clone()
    positions[:, 1:] -= (kernels * ((0.5 - mean) / std)).sum((1, 2, 3))
    tensors["pos_embed"] = positions
