"""Full-size exactness: published layouts read by vitrun and by timm, the difference in logits, as a GitHub table.

    python scripts/check_models.py

Random weights of each network, every tensor of which matters, are written in the published ``.npz`` layout; vitrun and
timm's own ``load_pretrained`` (with GELU set to its tanh form) each make a network of the file, and both take the same
images. Needs about 3 GB of memory and two minutes of one core.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from vitrun import models
from vitrun.models.export import export_model
from vitrun.recipes.tables import load_model_rows

TANH = {"act_layer": partial(nn.GELU, approximate="tanh")}
CASES = {  # row: timm's name, and what timm must be told
    "vit_b32": ("vit_base_patch32_224", TANH),
    "bit_r50x1": ("resnetv2_50x1_bit", {}),
    "r50_vit_b16": ("vit_base_r50_s16_224", TANH),
}
CLASSES, RES = 1000, 224


def main() -> None:
    """Print one row a network."""
    print("| model | largest logit | float32: difference | float64: difference | timm as it comes, float32 |")
    print("| --- | --- | --- | --- | --- |")
    for name in sys.argv[1:] or CASES:
        print(f"| {name} | {' | '.join(f'{figure:.2g}' for figure in compare(name))} |", flush=True)


@torch.no_grad()
def compare(name: str) -> list[float]:
    """The largest logit, and the largest differences of the two networks' logits."""
    torch.manual_seed(0)
    row, (theirs, options) = load_model_rows()[name], CASES[name]
    images = torch.rand(2, 3, RES, RES) * 2 - 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.npz"
        export_model(random_network(row), RES, "npz", path, "")
        ours = models.load(path, res=RES).network.eval()
        configured = timm_network(theirs, path, options)
        plain = timm_network(theirs, path, {})
    logits = ours(images)
    as_it_comes = largest(plain(images) - logits)
    float32 = largest(configured(images) - logits)
    float64 = largest(configured.double()(images.double()) - ours.double()(images.double()))
    return [largest(logits), float32, float64, as_it_comes]


def random_network(row) -> nn.Module:
    """The network of a row as it is drawn, with a little added to every tensor so that none is zero or one."""
    network = models.build(row, CLASSES, RES)
    for parameter in network.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.02)
    return network


def timm_network(name: str, path: Path, options: dict) -> nn.Module:
    """timm's network with the file's weights, by timm's own reader."""
    network = timm.create_model(name, num_classes=CLASSES, **options)
    network.load_pretrained(path)
    return network.eval()


def largest(tensor: Tensor) -> float:
    """Its largest magnitude."""
    return tensor.abs().max().item()


if __name__ == "__main__":
    main()
