"""Noise of a network in training, beside that of its images: stochastic depth (arXiv 1603.09382) and dropout."""

import torch
from torch import Tensor, nn

from vitrun.recipes import BiT, ResNet, ViT


class SkippedBlock(nn.Module):
    """A block with a shortcut. In training its branch is dropped for an image with probability ``skip``."""

    skip: float = 0.0

    def drop_path(self, branch: Tensor) -> Tensor:
        """Set dropped images of [B, ...] to 0, and scale the others to keep the mean."""
        if not (self.training and self.skip):
            return branch
        keep = 1 - self.skip
        return branch * (branch.new_empty(len(branch), *[1] * (branch.ndim - 1)).bernoulli_(keep) / keep)


def set_noise(network: nn.Module, row: ViT | BiT | ResNet) -> None:
    """Set the rates of a network's dropout layers and blocks to those of a row."""
    blocks = [module for module in network.modules() if isinstance(module, SkippedBlock)]
    for block, skip in zip(blocks, list_skips(row.stochastic_depth, len(blocks))):
        block.skip = skip
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = row.dropout


def list_skips(highest: float, depth: int) -> list[float]:
    """Return the probability at which each block is dropped for an image: linear in depth from 0, as in AugReg."""
    return torch.linspace(0, highest, depth, device="cpu").tolist()
