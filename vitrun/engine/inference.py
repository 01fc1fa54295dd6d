"""Read a trained network: its answers and its features."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from vitrun.data import Batch
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine


@dataclass
class Predictions:
    """What a network said of N images: the five likeliest classes of each (or all, where fewer), and its loss."""

    labels: np.ndarray  # [N] or [N, K] padded with -1
    indices: np.ndarray  # [N] places in the split
    top_classes: np.ndarray  # [N, 5] classes, likeliest first
    losses: np.ndarray = field(repr=False)  # [N]

    def accuracy(self, k: int, right: np.ndarray | None = None) -> float:
        """The share of images of which a right label is among the ``k`` likeliest classes.

        ``right`` [N, A] holds the right labels of each, then -1; images without any do not count. None: their labels.
        """
        right = self.labels.reshape(len(self.labels), -1) if right is None else right
        hits = (self.top_classes[:, :k, None] == right[:, None]).any((1, 2))
        return float(hits[(right >= 0).any(1)].mean())


def predict(
    network: nn.Module, batches: Iterable[Batch], objective: Callable, machine: Machine, tick: Callable
) -> Predictions:
    """The answers of ``network`` for every image of ``batches``, each exactly once."""

    def answer(images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        logits = network(images).float()
        return logits.topk(min(5, logits.shape[1])).indices, objective(logits, labels), labels

    top, losses, labels, indices = run_inference(network, batches, answer, machine, tick)
    return Predictions(labels, indices, top, losses)


def compute_features(
    network: nn.Module, batches: Iterable[Batch], machine: Machine, tick: Callable
) -> tuple[np.ndarray, np.ndarray]:
    """What the head reads, float32 [N, D], and the labels [N], of every image of ``batches``."""
    found, labels, _ = run_inference(
        network, batches, lambda x, labels: (network.features(x).float(), labels), machine, tick
    )
    return found, labels


def run_inference(
    network: nn.Module, batches: Iterable[Batch], function: Callable, machine: Machine, tick: Callable[[int], None]
) -> Sequence[np.ndarray]:
    """``function(*inputs, *targets)``, a tuple of tensors, over all batches, each joined; and the indices behind.

    Every rank is given what all of them found, in the order of the split.
    """
    network.eval()
    parts = []
    for batch in batches:
        pieces = np.array_split(np.arange(len(batch.images)), min(machine.workers, len(batch.images)))

        @torch.inference_mode()
        def work(piece: np.ndarray, batch: Batch = batch) -> list[np.ndarray]:
            inputs, targets = batch.micro_batch(piece, machine.device)
            with machine.autocast():
                return [tensor.cpu().numpy() for tensor in function(*inputs, *targets)]

        for piece, found in zip(pieces, machine.map(work, pieces, len(pieces))):
            parts.append((*found, batch.indices[piece]))
        tick(len(batch.images))
    return distributed.all_gather_arrays([np.concatenate(column) for column in zip(*parts)])
