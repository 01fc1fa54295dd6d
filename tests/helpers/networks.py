"""Small networks, their inputs and outputs."""

from dataclasses import replace

import torch

from vitrun import models
from vitrun.models.export.portable import export_tensors
from vitrun.models.formats import jax_vit
from vitrun.recipes.tables import load_model_rows

MODEL_ROWS = load_model_rows()


def tiny_vit_row(**options):
    """Return the row of a small ViT, with some of its options replaced."""
    return replace(
        MODEL_ROWS["vit_s16"], name="tiny", **{"width": 48, "depth": 2, "heads": 3, "mlp": 96, "patch": 8, **options}
    )


def build_randomized(row, classes=5, res=32, seed=0):
    """Build the network of a row with random tensors, so that none is zero or one."""
    torch.manual_seed(seed)
    network = models.build(row, classes, res).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def make_inputs(res=32, count=2):
    """Return random images [count, 3, res, res] in [-1, 1]."""
    return torch.rand(count, 3, res, res, generator=torch.Generator().manual_seed(1)) * 2 - 1


def compute_logits(network, pixels):
    """Return the logits [B, C] of a network in evaluation mode."""
    with torch.no_grad():
        return network.eval()(pixels)


def to_jax_arrays(row, network, rename=lambda name: name, prefix=""):
    """Return the arrays of a ViT in the layout of a published ``.npz``."""
    exported = export_tensors(jax_vit.map_tensors(row), network.state_dict())
    return {prefix + rename(name): tensor.detach().numpy() for name, tensor in exported.items()}
