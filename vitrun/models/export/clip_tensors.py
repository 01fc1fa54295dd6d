"""Convert a CLIP for libraries whose images are normalised with CLIP's mean and deviation."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from vitrun.errors import UserError
from vitrun.models.clip import Clip
from vitrun.models.clip_resnet import CLIP_MEAN, CLIP_STD, ClipResNet
from vitrun.models.export.portable import export_tensors, require_no_pre_logits, with_learned_positions
from vitrun.models.formats.mapping import TensorMapping
from vitrun.models.vit import ViT
from vitrun.recipes import Clip as Row


def convert_clip(
    network: Clip, to: str, map_tensors: Callable[[Row], list[TensorMapping]]
) -> tuple[Row, dict[str, Tensor], list[float]]:
    """Return the row, the tensors by another library's names, and the mean of the images in [0, 1] that they take.

    Their deviation is CLIP's. Raise a UserError if the library ``to`` has no such image tower.
    """
    row, tower = network.row, network.image
    if isinstance(tower, ClipResNet):
        tensors, mean = dict(tower.state_dict()), ((tower.shift + 1) / 2).flatten().tolist()
        tensors["stem.conv1.weight"] = tensors["stem.conv1.weight"] * scale_of_kernels()
    else:
        require_clip_tower(tower, to)
        image, tensors = with_learned_positions(tower, to)
        row, mean = replace(row, image=image), [*CLIP_MEAN]
        unfold_normalization(tensors)
    others = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("image.")}
    tensors = {f"image.{name}": tensor for name, tensor in tensors.items()} | others
    return row, export_tensors(map_tensors(row), tensors), mean


def require_clip_tower(tower: ViT, to: str) -> None:
    """Raise a UserError unless a ViT is the image tower of a CLIP of open_clip and transformers."""
    require_no_pre_logits(tower.row, to)
    if tower.row.stem or tower.row.head != "token" or not tower.row.norm_pre:
        what = "a class token, a LayerNorm after its embeddings and no ResNet"
        raise UserError(f"{to} has image towers with {what} alone; this one is another. vitrun reads its own weights.")


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
