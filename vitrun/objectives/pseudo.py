"""Predict labels, and for unlabelled images the answers of a teacher (Noisy Student, arXiv 1911.04252)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vitrun import models
from vitrun.data import Batch, Split
from vitrun.objectives.labels import LabelObjective
from vitrun.recipes import Model
from vitrun.runs.metrics import Result
from vitrun.runtime.device import Machine


@dataclass(frozen=True)
class PseudoObjective:
    """Predict the labels of some images of a step, and a teacher's answers for the others.

    Unlabelled images are those whose shares of classes are not all 0 (:func:`vitrun.data.join_batches`).
    """

    labels: LabelObjective
    soft: bool  # whether unlabelled images are compared with the teacher's probabilities, or with its likeliest class
    # what the losses of labelled and of unlabelled images are multiplied by; the loss of a step is the mean of all
    labelled_weight: float = 1.0
    unlabelled_weight: float = 1.0

    @classmethod
    def build(cls, labels: LabelObjective, soft: bool, ratio: int, weight: float | None) -> "PseudoObjective":
        """Return the objective whose loss is the mean over all images, or the sum of both means with a ``weight``."""
        if weight is None:
            return cls(labels, soft)
        return cls(labels, soft, 1.0 + ratio, weight * (1 + ratio) / ratio)

    def check_data(self, *splits: Split) -> None:
        """Raise UserError if images have several labels."""
        self.labels.check_data(*splits)

    def build_model(self, model: Model, train: Split, res: int) -> models.LoadedModel:
        """Return an untrained network with a head of the labelled images' classes."""
        return self.labels.build_model(model, train, res)

    def prepare(self, batch: Batch, step: int) -> Batch:
        """Return the batch of a training step; mixup and CutMix do not mix labelled images with unlabelled ones.

        The targets are classes and shares [B, K]. Those of mixed images are followed by the classes and shares of the
        other image, by its label and by the share of the image itself.
        """
        if not batch.targets:  # blank images, as of a dry run
            size = len(batch.labels)
            batch = replace(batch, targets=(batch.labels.new_zeros(size, 1), torch.zeros(size, 1)))
        if not self.labels.mixup and not self.labels.cutmix:
            return batch
        number = int((batch.targets[1].sum(1) == 0).sum())  # labelled images come first
        pixels, labels, *others = (
            torch.cat([tensor[:number].roll(1, 0), tensor[number:].roll(1, 0)])
            for tensor in (batch.pixels, batch.labels, *batch.targets)
        )
        mixing = self.labels.draw_mixing(batch, step)
        share = torch.full((len(labels),), mixing.share)
        return replace(batch.mix(pixels, mixing), targets=(*batch.targets, *others, labels, share))

    def loss(self, logits: Tensor, labels: Tensor, *targets: Tensor) -> Tensor:
        """Return the weighted loss of each image, mixed ones the weighted mean of two images' losses: -> [B]."""
        losses = self.target_loss(logits, labels, *targets[:2])
        if len(targets) > 2:
            classes, shares, others, share = targets[2:]
            losses = share * losses + (1 - share) * self.target_loss(logits, others, classes, shares)
        unlabelled = targets[1].sum(1) > 0
        return losses * torch.where(unlabelled, self.unlabelled_weight, self.labelled_weight)

    def target_loss(self, logits: Tensor, labels: Tensor, classes: Tensor, shares: Tensor) -> Tensor:
        """Return the loss of each image with its label, or with the teacher's answer: -> [B].

        ``class_weights`` weigh the losses of labels only, from whose counts they are computed.
        """
        unlabelled, of_labels = shares.sum(1) > 0, self.labels.label_loss(logits, labels)
        if self.soft:
            return torch.where(unlabelled, soft_loss(logits, classes, shares), of_labels)
        if self.labels.class_weights is None:
            return of_labels
        return torch.where(unlabelled, replace(self.labels, class_weights=None).label_loss(logits, labels), of_labels)

    def evaluate(
        self, network: nn.Module, batches: Iterable[Batch], machine: Machine, tick: Callable[[int], None]
    ) -> Result:
        """Return the metrics of labels."""
        return self.labels.evaluate(network, batches, machine, tick)


def soft_loss(logits: Tensor, classes: Tensor, shares: Tensor) -> Tensor:
    """Return the cross-entropy of each image with probabilities: [B, C], [B, K], [B, K] -> [B].

    What ``shares`` of ``classes`` leave of 1 is spread evenly over the other classes; with all classes they are scaled
    to 1, as their float16 values may not be.
    """
    logits = logits.float() if logits.dtype != torch.float64 else logits
    log_probabilities = logits.log_softmax(1)
    own, others = log_probabilities.gather(1, classes), logits.shape[1] - classes.shape[1]
    total = shares.sum(1)
    if others <= 0:
        return -(shares * own).sum(1) / total.clamp(min=1e-6)
    rest = (1 - total).clamp(min=0) / others
    return -(shares * own).sum(1) - rest * (log_probabilities.sum(1) - own.sum(1))
