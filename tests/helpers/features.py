"""Features to fit a probe on."""

import torch

from vitrun.probes.ridge import Features


def make_clusters(number: int, classes: int = 3, width: int = 6, seed: int = 0) -> Features:
    """Return noisy points around one mean a class."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(number) % classes
    means = torch.eye(classes, width) * 2
    return Features(means[y] + torch.randn(number, width, generator=generator), y, classes)
