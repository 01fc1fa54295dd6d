"""The ResNets of the JAX layouts: how many units a file has, and where the tensors of a hybrid's trunk are."""

import re
from collections import Counter

from vitrun.models.formats.mapping import TensorMapping, map_kernel, map_vector
from vitrun.models.tensor_files import Shapes
from vitrun.recipes import ViT


def count_units(shapes: Shapes, pattern: str = r"block(\d+)/unit(\d+)/") -> tuple[int, ...]:
    """The units of each stage of a ResNet."""
    found = {match.groups() for name in shapes if (match := re.match(pattern, name))}
    counts = Counter(int(stage) for stage, _ in found)
    return tuple(counts[stage] for stage in sorted(counts))


def map_norm(ours: str, theirs: str, ones: int = 0) -> list[TensorMapping]:
    """A layer's or group's norm, its vectors within ``ones`` axes of one."""
    return [map_vector(f"{ours}.weight", f"{theirs}/scale", ones), map_vector(f"{ours}.bias", f"{theirs}/bias", ones)]


def map_resnet(model: ViT) -> list[TensorMapping]:
    """The ResNet before the transformer."""
    ours = "patch_embed.backbone"
    found = [map_kernel(f"{ours}.stem.conv.weight", "conv_root/kernel"), *map_norm(f"{ours}.stem.norm", "gn_root")]
    for stage, blocks in enumerate(model.resnet):
        for unit in range(blocks):
            place, theirs = f"{ours}.stages.{stage}.blocks.{unit}", f"block{stage + 1}/unit{unit + 1}"
            for part in (1, 2, 3):
                found.append(map_kernel(f"{place}.conv{part}.weight", f"{theirs}/conv{part}/kernel"))
                found += map_norm(f"{place}.norm{part}", f"{theirs}/gn{part}")
            if unit == 0:
                found.append(map_kernel(f"{place}.downsample.conv.weight", f"{theirs}/conv_proj/kernel"))
                found += map_norm(f"{place}.downsample.norm", f"{theirs}/gn_proj")
    return found
