"""Run a trained network on all images of a split: its predictions and its features."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from vitrun.data import Batch, Split
from vitrun.errors import ExitCode, UserError
from vitrun.models import Network
from vitrun.runs.predictions import PredictionTable
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine


@dataclass
class Predictions:
    """Predictions of a network for N images."""

    labels: np.ndarray  # [N], or [N, K] padded with -1
    indices: np.ndarray  # [N] indices in the split
    top_classes: np.ndarray  # [N, 5] the likeliest classes, likeliest first; all classes if there are fewer
    losses: np.ndarray = field(repr=False)  # [N]
    probabilities: np.ndarray = field(repr=False)  # [N, 5] of ``top_classes``

    def accuracy(self, k: int, correct: np.ndarray | None = None) -> float:
        """Return the share of images with a correct label among the ``k`` likeliest classes.

        ``correct`` [N, A] holds the correct labels of each image, padded with -1; None means ``labels``. Images
        without any do not count.
        """
        correct = self.labels.reshape(len(self.labels), -1) if correct is None else correct
        hits = (self.top_classes[:, :k, None] == correct[:, None]).any((1, 2))
        return float(hits[(correct >= 0).any(1)].mean())

    def to_table(self, split: Split, classes: Sequence[str] | None = None) -> PredictionTable:
        """Return the predictions of a split's images as a run saves them; ``classes`` are those of the split."""
        rows = self.indices
        return PredictionTable(
            keys=[split.keys[row] for row in rows.tolist()],
            labels=self.labels,
            top_classes=self.top_classes,
            probabilities=self.probabilities,
            losses=self.losses,
            classes=tuple(classes or split.classes),
            accepted=None if split.accepted is None else split.accepted[rows],
        )


def softmax(logits: Tensor) -> Tensor:
    """Return probabilities that sum to 1: [B, C] -> [B, C]."""
    return logits.softmax(1)


def predict(
    network: nn.Module,
    batches: Iterable[Batch],
    loss: Callable[[Tensor, Tensor], Tensor],
    machine: Machine,
    tick: Callable[[int], None],
    to_probabilities: Callable[[Tensor], Tensor] = softmax,
) -> Predictions:
    """Return the predictions of ``network`` for every image of ``batches``, each exactly once."""

    def classify(images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        logits = network(images).float()
        top_classes = logits.topk(min(5, logits.shape[1])).indices
        return top_classes, loss(logits, labels), to_probabilities(logits).gather(1, top_classes), labels

    top_classes, losses, probabilities, labels, indices = run_inference(network, batches, classify, machine, tick)
    return Predictions(labels, indices, top_classes, losses, probabilities)


def compute_features(
    network: Network, batches: Iterable[Batch], machine: Machine, tick: Callable[[int], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the input of the head, float32 [N, D], and the label, [N], of every image of ``batches``."""

    def extract(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return network.features(images).float(), labels

    features, labels, _ = run_inference(network, batches, extract, machine, tick)
    return features, labels


def run_inference(
    network: nn.Module,
    batches: Iterable[Batch],
    function: Callable[..., tuple[Tensor, ...]],
    machine: Machine,
    tick: Callable[[int], None],
) -> Sequence[np.ndarray]:
    """Apply ``function(*inputs, *targets)`` to every batch; return its outputs concatenated, and the images' indices.

    Every rank gets the outputs of all ranks, in the order of the split. ``tick`` is called with the number of images
    after each batch.
    """
    parts = []
    for outputs in iterate_inference(network, batches, function, machine):
        parts.append(outputs)
        tick(len(outputs[0]))
    return distributed.all_gather_arrays([np.concatenate(column) for column in zip(*parts)])


def iterate_inference(
    network: nn.Module,
    batches: Iterable[Batch],
    function: Callable[..., tuple[Tensor, ...]],
    machine: Machine,
) -> Iterator[Sequence[np.ndarray]]:
    """Yield the outputs of ``function(*inputs, *targets)`` for each batch, and its images' indices.

    The network is put into evaluation mode. Raise UserError (exit code 5) with the name of the first image for which an
    output is not finite.
    """
    network.eval()
    for batch in batches:
        pieces = np.array_split(np.arange(len(batch.images)), min(machine.workers, len(batch.images)))

        @torch.inference_mode()
        def work(piece: np.ndarray, batch: Batch = batch) -> list[np.ndarray]:
            inputs, targets = batch.micro_batch(piece, machine.device)
            with machine.autocast():
                return [tensor.cpu().numpy() for tensor in function(*inputs, *targets)]

        parts = []
        for piece, outputs in zip(pieces, machine.map(work, pieces, len(pieces))):
            check_finite(outputs, batch, piece)
            parts.append(outputs)
        yield [*map(np.concatenate, zip(*parts)), batch.indices]


def check_finite(outputs: Sequence[np.ndarray], batch: Batch, rows: np.ndarray) -> None:
    """Raise UserError (exit code 5) if an output of the images at ``rows`` is not finite."""
    for values in outputs:
        finite = np.isfinite(values).reshape(len(values), -1).all(1)
        if not finite.all():
            raise UserError(
                f"The network gives {(~finite).sum()} of {len(finite)} images a value that is not finite, first of "
                f"{batch.name_images([rows[finite.argmin()]])}. Try precision=fp32, or other weights.",
                ExitCode.NUMERICS,
            )
