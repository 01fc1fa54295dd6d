"""The interface of every network."""

import torch
from torch import Tensor, nn

from vitrun.recipes import Model


class Network(nn.Module):
    """Map images [B, 3, R, R] to logits [B, C].

    ``row`` is the row of the model table, and ``head`` the last layer, which reads ``features``.
    """

    row: Model
    head: nn.Linear
    precise_head: bool = False  # compute the head in float32 under autocast too

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, C]."""
        if self.precise_head:
            features = self.features(images)
            with torch.autocast(features.device.type, enabled=False):
                return self.head(features)
        return self.head(self.pooled(images))

    def features(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, D] in float32: the input of the head."""
        return self.pooled(images).float()

    def pooled(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, D]."""
        raise NotImplementedError


def lay_out_images(images: Tensor) -> Tensor:
    """Return images [B, 3, H, W] in channels-last memory format on a GPU, and unchanged elsewhere.

    The layers after the first convolution keep this layout, batch norm too. Group norm does not: torch 2.14 has kernels
    for planes alone, with which BiT and hybrids go on from their first norm, unless they are compiled. On a CPU
    convolutions would have other roundings.
    """
    return images.contiguous(memory_format=torch.channels_last) if images.is_cuda else images
