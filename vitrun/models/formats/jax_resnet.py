"""ResNets in the JAX layouts: the number of units in a file, and the mappings of a hybrid's trunk."""

import re
from collections import Counter

from vitrun.models.formats.mapping import TensorMapping, map_kernel, map_vector
from vitrun.models.tensor_files import Shapes
from vitrun.recipes import ViT


def count_units(shapes: Shapes, pattern: str = r"block(\d+)/unit(\d+)/") -> tuple[int, ...]:
    """Return the number of units in each stage of a ResNet."""
    units = {match.groups() for name in shapes if (match := re.match(pattern, name))}
    counts = Counter(int(stage) for stage, _ in units)
    return tuple(counts[stage] for stage in sorted(counts))


def map_norm(ours: str, theirs: str, ones: int = 0) -> list[TensorMapping]:
    """Map a layer or group norm; the file has ``ones`` axes of size 1 before its vectors."""
    return [map_vector(f"{ours}.weight", f"{theirs}/scale", ones), map_vector(f"{ours}.bias", f"{theirs}/bias", ones)]


def map_resnet(model: ViT) -> list[TensorMapping]:
    """Map the ResNet before the transformer."""
    trunk = "patch_embed.backbone"
    mappings = [map_kernel(f"{trunk}.stem.conv.weight", "conv_root/kernel"), *map_norm(f"{trunk}.stem.norm", "gn_root")]
    for stage, blocks in enumerate(model.resnet):
        for unit in range(blocks):
            ours, theirs = f"{trunk}.stages.{stage}.blocks.{unit}", f"block{stage + 1}/unit{unit + 1}"
            for part in (1, 2, 3):
                mappings.append(map_kernel(f"{ours}.conv{part}.weight", f"{theirs}/conv{part}/kernel"))
                mappings += map_norm(f"{ours}.norm{part}", f"{theirs}/gn{part}")
            if unit == 0:
                mappings.append(map_kernel(f"{ours}.downsample.conv.weight", f"{theirs}/conv_proj/kernel"))
                mappings += map_norm(f"{ours}.downsample.norm", f"{theirs}/gn_proj")
    return mappings
