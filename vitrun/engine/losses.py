"""What a network is trained for with labels: the losses, label smoothing and mixup."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun.data import Batch, Split
from vitrun.engine.inference import predict
from vitrun.errors import UserError
from vitrun.runtime import random
from vitrun.runtime.device import Machine


def softmax_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Softmax cross-entropy of each image: [B, C], [B] -> [B]."""
    return functional.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)


def sigmoid_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Sigmoid cross-entropy of each image, summed over classes: [B, C], [B] or [B, K] -> [B] (as big_vision).

    torch's own form takes x from log sigmoid(x), which at a head's first bias of -10 loses three digits of each class.
    """
    logits = logits.float()
    targets = encode_multi_hot(labels, logits.shape[1])
    if smoothing:
        targets = targets * (1 - smoothing) + smoothing / logits.shape[1]  # as softmax_loss smooths them
    return (functional.softplus(logits) - targets * logits).sum(1)


def encode_multi_hot(labels: Tensor, classes: int) -> Tensor:
    """1 for each class that an image has, else 0: [B], or [B, K] where -1 is no class, to float32 [B, C]."""
    labels = labels.reshape(len(labels), -1)
    targets = torch.zeros(len(labels), classes + 1, device=labels.device)
    return targets.scatter_(1, labels.where(labels >= 0, classes), 1)[:, :classes]


LOSSES = {"softmax": softmax_loss, "sigmoid": sigmoid_loss}


def check_loss(loss: str, *splits: Split) -> None:
    """A UserError where a split has images of several labels, and the loss knows one only."""
    if loss == "softmax" and any(split.labels.ndim > 1 for split in splits):
        raise UserError(
            "loss=softmax knows one label an image, but the data has images of several: use loss=sigmoid, or in eval "
            "the init of a run that was trained so."
        )


@dataclass(frozen=True)
class LabelObjective:
    """To tell an image's label, or with mixup the shares of two."""

    kind: str  # of loss
    smoothing: float = 0.0
    mixup: float = 0.0
    seed: int = 0

    def prepare(self, batch: Batch, step: int) -> Batch:
        """The batch that training sees at a step: with ``mixup`` each image mixed with the one before it.

        One share a batch, the larger of l and 1 - l where l is of Beta(mixup, mixup) (big_vision/utils.py,
        ``get_mixup``); drawn from (seed, step). Losses are linear in the targets, so the labels are not mixed but kept.
        Before the first image comes the last that the rank has: with several ranks other pairs are mixed than with one.
        """
        if not self.mixup:
            return batch
        drawn = random.make_generator(self.seed, "mixup", step).beta(self.mixup, self.mixup)
        share = max(drawn, 1 - drawn)
        images = batch.images.lerp(batch.images.roll(1, 0), 1 - share)
        targets = (batch.labels.roll(1, 0), torch.full((len(images),), share))
        return replace(batch, images=images, targets=targets)

    def loss(self, logits: Tensor, labels: Tensor, others: Tensor | None = None, share: Tensor | None = None) -> Tensor:
        """The loss of each image, with mixup that of both its labels by their shares: [B, C], [B] -> [B]."""
        loss = LOSSES[self.kind]
        own = loss(logits, labels, self.smoothing)
        if others is None:
            return own
        return share * own + (1 - share) * loss(logits, others, self.smoothing)

    def evaluate(
        self, network: nn.Module, batches: Iterable[Batch], machine: Machine, tick: Callable
    ) -> dict[str, Any]:
        """Top-1, top-5 and loss, without smoothing, on every image of ``batches``."""
        found = predict(network, batches, LOSSES[self.kind], machine, tick)
        return {
            "top1": found.accuracy(1),
            "top5": found.accuracy(5),
            "loss": float(found.losses.mean()),
            "test_images": len(found.labels),
        }
