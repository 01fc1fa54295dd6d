"""Attention of a network over many images: means of all, and maps of a few, a layer and a batch at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vitrun import models
from vitrun.data import Batch
from vitrun.errors import ExitCode, UserError
from vitrun.models import AttentionLayout, Network
from vitrun.probes.attention_statistics import DistanceMeter, Rollout, attention_of_reader
from vitrun.runtime.device import Machine

MAX_ATTENTION_BYTES = 2**28  # of one layer's attention for a batch; about four times as much is in memory


@dataclass(frozen=True)
class AttentionFindings:
    """Result of a survey: distances over all images, and of S images that are shown the maps of L layers."""

    distances: np.ndarray  # [layers, H, 3], as attention_distances has them
    images: int  # over which distances are averaged
    keys: list[str]  # [S]
    pixels: np.ndarray  # [S, R, R, 3] uint8, as the network sees the images
    rollouts: np.ndarray  # [S, G, G]
    maps: np.ndarray  # [S, L, H, G, G], or [S, L, 1, G, G] for the mean over heads


class AttentionSurvey:
    """Mean attention distance over batches of images, and rollouts and maps of some of them.

    Args:
        res: The side of the images in pixels.
        shown: Indices in the split of the images whose rollouts and maps are returned.
        layers: Indices, from 0, of the layers whose maps are returned.
        each_head: Whether there is a map for each head, in place of their mean.
    """

    def __init__(self, layout: AttentionLayout, res: int, shown: set[int], layers: Sequence[int], each_head: bool):
        self.layout, self.shown, self.layers, self.each_head = layout, shown, layers, each_head
        self.meter = DistanceMeter(layout, res)
        self.keys: list[str] = []
        self.parts: list[tuple[Tensor, Tensor, Tensor]] = []  # images, rollouts and maps of a batch

    @torch.inference_mode()
    def add(self, network: Network, batch: Batch, machine: Machine) -> None:
        """Add the attention of ``network``, in evaluation mode, over a batch."""
        rows = [row for row, index in enumerate(batch.indices.tolist()) if index in self.shown]
        rollout, maps = Rollout(), {}

        def receive(layer: int, attention: Tensor) -> None:
            self.meter.update(layer, attention)
            if rows:
                rollout.update(attention[rows])
            if rows and layer in self.layers:
                heads = attention_of_reader(attention[rows], self.layout).cpu()
                maps[layer] = heads if self.each_head else heads.mean(1, keepdim=True)

        with machine.autocast():
            images = batch.load_images(machine.device)
            pool = models.visit_attention(network, self.layout, images, receive)
        if rows:
            rollouts = rollout.read(self.layout, None if pool is None else pool[rows].float()).cpu()
            self.parts.append((images[rows].cpu(), rollouts, torch.stack([maps[layer] for layer in self.layers], 1)))
            self.keys += [batch.keys[int(batch.indices[row])] for row in rows]

    def finish(self) -> AttentionFindings:
        """Return the result; raise UserError (exit code 5) if attention is not finite."""
        distances = self.meter.mean()
        if not distances.isfinite().all():
            why = "The attention of the network is not finite. Try precision=fp32, or other weights."
            raise UserError(why, ExitCode.NUMERICS)
        side, size = self.layout.side, self.meter.res
        empty = (torch.zeros(0, 3, size, size), torch.zeros(0, side, side), torch.zeros(0, 0, 0, side, side))
        images, rollouts, maps = (torch.cat(column) for column in zip(*(self.parts or [empty])))
        pixels = ((images + 1) * 127.5).clamp(0, 255).round().byte().permute(0, 2, 3, 1)
        return AttentionFindings(
            distances.numpy(), self.meter.images, self.keys, pixels.numpy(), rollouts.numpy(), maps.numpy()
        )


def limit_batch(batch: int, layout: AttentionLayout) -> int:
    """Return how many images to compute at once, so that the attention of a layer takes ``MAX_ATTENTION_BYTES``."""
    return max(1, min(batch, MAX_ATTENTION_BYTES // (4 * layout.heads * layout.tokens**2)))
