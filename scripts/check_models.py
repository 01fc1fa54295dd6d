"""Compare the logits of full-size networks whose published layouts vitrun and timm read, as a GitHub table.

    python scripts/check_models.py

Random weights of each network, with no tensor zero or one, are written in the published ``.npz`` layout. vitrun and
timm's own ``load_pretrained`` (with GELU set to its tanh form) each load the file and compute the logits of the same
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
CASES = {  # row: timm's name, and the options that timm needs
    "vit_b32": ("vit_base_patch32_224", TANH),
    "bit_r50x1": ("resnetv2_50x1_bit", {}),
    "r50_vit_b16": ("vit_base_r50_s16_224", TANH),
}
CLASSES, RES = 1000, 224


def main() -> None:
    """Print one row for each network."""
    print("| model | largest logit | float32: difference | float64: difference | timm as it comes, float32 |")
    print("| --- | --- | --- | --- | --- |")
    for name in sys.argv[1:] or CASES:
        print(f"| {name} | {' | '.join(f'{figure:.2g}' for figure in compare(name))} |", flush=True)


@torch.no_grad()
def compare(name: str) -> list[float]:
    """Return the largest logit, and the largest differences between the logits of the two networks."""
    torch.manual_seed(0)
    row, (theirs, options) = load_model_rows()[name], CASES[name]
    images = torch.rand(2, 3, RES, RES) * 2 - 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.npz"
        export_model(randomize_network(row), RES, "npz", path, "")
        ours = models.load(path, res=RES).network.eval()
        configured = timm_network(theirs, path, options)
        plain = timm_network(theirs, path, {})
    logits = ours(images)
    as_it_comes = largest_magnitude(plain(images) - logits)
    float32 = largest_magnitude(configured(images) - logits)
    float64 = largest_magnitude(configured.double()(images.double()) - ours.double()(images.double()))
    return [largest_magnitude(logits), float32, float64, as_it_comes]


def randomize_network(row) -> nn.Module:
    """Build the network of a row with noise added to every tensor, so that none is zero or one."""
    network = models.build(row, CLASSES, RES)
    for parameter in network.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.02)
    return network


def timm_network(name: str, path: Path, options: dict) -> nn.Module:
    """Return timm's network with the weights of the file, read by timm."""
    network = timm.create_model(name, num_classes=CLASSES, **options)
    network.load_pretrained(path)
    return network.eval()


def largest_magnitude(tensor: Tensor) -> float:
    """Return the largest magnitude."""
    return tensor.abs().max().item()


if __name__ == "__main__":
    main()
