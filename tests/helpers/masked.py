"""A small network that is trained on masked patches."""

import torch

from vitrun import models
from vitrun.recipes import Masked, tables

COLOUR_OBJECTIVE = Masked(kind="masked", target="colour", share=0.5, mask=0.8, other=0.1)


def build_masked_network(outputs: int = 512):
    """Return a tiny ViT with a mask token and a random decoder of ``outputs`` values, in evaluation mode."""
    torch.manual_seed(0)
    network = models.build_masked(tables.load_model_rows()["vit_nano8"], outputs, 16)
    torch.nn.init.normal_(network.decoder.weight, std=0.1)
    return network.eval()
