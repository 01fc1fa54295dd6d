"""Run a trained network on all images of a split, for predictions, features or any other outputs."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import isqrt

import numpy as np
import torch
from torch import Tensor, nn

from vitrun.data import Batch, Split
from vitrun.engine.inference_batches import choose_images
from vitrun.errors import ExitCode, UserError
from vitrun.models import Network
from vitrun.models.packed import packed_weights
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
    network: Network, batches: Iterable[Batch], machine: Machine, tick: Callable[[int], None], images: int
) -> np.ndarray:
    """Return the input of the head, float32 [N, D], of every image of ``batches``, computed ``images`` at once."""

    def extract(images: Tensor, labels: Tensor) -> tuple[Tensor]:
        return (network.features(images).float(),)

    features, _ = run_inference(network, batches, extract, machine, tick, images)
    return features


def run_inference(
    network: nn.Module,
    batches: Iterable[Batch],
    function: Callable[..., tuple[Tensor, ...]],
    machine: Machine,
    tick: Callable[[int], None],
    images: int | None = None,
) -> Sequence[np.ndarray]:
    """Apply ``function(*inputs, *targets)`` to every batch; return its outputs concatenated, and the images' indices.

    Every rank gets the outputs of all ranks, in the order of the split. ``tick`` is called with the number of images
    after each batch. With ``images`` every micro-batch has that number, see :func:`iterate_inference`.
    """
    parts = []
    for outputs in iterate_inference(network, batches, function, machine, images):
        parts.append(outputs)
        tick(len(outputs[-1]))
    return distributed.all_gather_arrays([np.concatenate(column) for column in zip(*parts)])


def iterate_inference(
    network: nn.Module,
    batches: Iterable[Batch],
    function: Callable[..., tuple[Tensor, ...]],
    machine: Machine,
    images: int | None = None,
) -> Iterator[Sequence[np.ndarray]]:
    """Yield the outputs of ``function(*inputs, *targets)`` for each batch, and its images' indices.

    A batch is computed in micro-batches; the weights are converted to the precision of ``machine`` once per batch. With
    ``images`` every micro-batch has that number of images, the last one padded with copies. Then the outputs for an
    image do not depend on the other images, not even in rounding. (In the convolutions of BiT and the hybrids, the
    number of images decides the algorithm, and in float32 the bits. On a CPU with AVX512-BF16 the bits of a ViT do not
    depend on it, in either precision.)

    Put the network into evaluation mode. Raise UserError (exit code 5), with the name of the image, if an output is not
    finite.
    """
    network.eval()
    started: deque[Callable[[], Sequence[np.ndarray]]] = deque()
    with packed_weights(network) if machine.dtype == torch.bfloat16 else nullcontext():
        for batch in batches:
            size = images or choose_images(network, square_side(batch.pixels), len(batch.indices), machine)
            started.append(start_batch(batch, size, function, machine, fill=images is not None))
            if len(started) > 1:  # so that no worker waits for the last micro-batch of another one
                yield started.popleft()()
        while started:
            yield started.popleft()()


def square_side(images: Tensor) -> int:
    """Return the side of squares as large as images [B, 3, H, W]; of rectangles one that patches of 16 pixels tile."""
    height, width = images.shape[-2:]
    return width if height == width else max(16, isqrt(height * width) // 16 * 16)


def start_batch(
    batch: Batch, size: int, function: Callable[..., tuple[Tensor, ...]], machine: Machine, fill: bool
) -> Callable[[], Sequence[np.ndarray]]:
    """Start to compute ``function`` of a batch in micro-batches of ``size`` images, on all workers.

    Return a function that waits, and returns the outputs for all images and the images' indices. With ``fill`` the last
    micro-batch is padded to ``size``.
    """
    pieces = np.split(np.arange(len(batch.indices)), range(size, len(batch.indices), size))
    outputs: list[list[np.ndarray]] = [[] for _ in pieces]
    queue = iter(range(len(pieces)))  # a worker takes the next one when it is free; next() is atomic

    @torch.inference_mode()
    def work(_: int) -> None:
        with machine.autocast():  # around all pieces, so that each weight is converted only once
            for number in queue:
                piece = pieces[number]
                filled = np.resize(piece, size) if fill else piece
                rows: slice | np.ndarray = filled
                if machine.device.type == "cuda" and len(filled) == len(piece):
                    rows = slice(piece[0], piece[-1] + 1)  # a copy of rows would not be in pinned memory
                inputs, targets = batch.micro_batch(rows, machine.device)
                outputs[number] = [output[: len(piece)].cpu().numpy() for output in function(*inputs, *targets)]

    # With ``fill`` always all workers: a single one would have all cores, and other bits.
    workers = machine.workers if fill else min(machine.workers, len(pieces))
    wait = machine.start(work, range(workers), workers)

    def finish() -> Sequence[np.ndarray]:
        wait()
        for piece, part in zip(pieces, outputs):
            check_finite(part, batch, piece)
        return [*map(np.concatenate, zip(*outputs)), batch.indices]

    return finish


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
