"""Predict the labels of an image: losses, label smoothing, mixup and CutMix, class weights."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun import models
from vitrun.data import Batch, Split
from vitrun.engine.inference import predict, softmax
from vitrun.errors import UserError
from vitrun.objectives.mixing import Blend, Paste, draw_blend, draw_paste
from vitrun.recipes import Model, Training
from vitrun.runs.metrics import Metric, Result
from vitrun.runtime import random
from vitrun.runtime.device import Machine

# The head's first bias under the sigmoid loss: every class is rare at first (big_vision, configs/vit_i21k.py)
RARE_CLASS_BIAS = -10.0


@dataclass(frozen=True)
class LabelObjective:
    """Predict an image's labels, or with mixup and CutMix the shares of two images' labels."""

    loss_name: str  # of LOSSES
    smoothing: float = 0.0
    mixup: float = 0.0  # a in Beta(a, a), the distribution of a batch's share; 0 for no mixup
    seed: int = 0
    head_bias: float | None = None  # of an untrained head; None for the default of the loss
    cutmix: float = 0.0  # a in Beta(a, a); 0 for no CutMix
    switch_prob: float = 0.5  # of CutMix in a step, if there is mixup too
    class_weights: Tensor | None = field(default=None, compare=False)  # [C] of an image's loss, by its label

    @classmethod
    def from_recipe(cls, recipe: Training) -> "LabelObjective":
        """Return the objective of a recipe of pretraining or fine-tuning."""
        head_bias = getattr(recipe, "head_bias", None)  # fine-tuning has a zero head
        augment = recipe.augment
        options = (augment.mixup, recipe.seed, head_bias, augment.cutmix, augment.switch_prob)
        return cls(recipe.loss, recipe.smoothing, *options)

    def check_data(self, *splits: Split) -> None:
        """Raise UserError if images have several labels and the loss handles only one."""
        check_loss(self.loss_name, *splits)

    def build_model(self, model: Model, train: Split, res: int) -> models.LoadedModel:
        """Return an untrained network with a head of the training images' classes."""
        bias = self.head_bias
        if bias is None:
            bias = RARE_CLASS_BIAS if self.loss_name == "sigmoid" else 0.0
        classes = len(train.classes)
        network = models.build(model, classes, res, bias)
        return models.LoadedModel(network, model, classes, res, None, train.classes)

    def prepare(self, batch: Batch, step: int) -> Batch:
        """Return the batch of a training step: with ``mixup`` or ``cutmix`` images are mixed with the one before them.

        All draws are of (seed, step). Losses are linear in the targets, so ``loss`` mixes the losses of both labels. A
        rank's first image is mixed with its last, so the pairs depend on the number of ranks.
        """
        if not self.mixup and not self.cutmix:
            return batch
        mixing = self.draw_mixing(batch, step)
        targets = (batch.labels.roll(1, 0), torch.full((len(batch.labels),), mixing.share))
        return replace(batch.mix(batch.pixels.roll(1, 0), mixing), targets=targets)

    def draw_mixing(self, batch: Batch, step: int) -> Blend | Paste:
        """Return how the images of a step are mixed."""
        if self.uses_cutmix(step):
            height, width = batch.pixels.shape[2:]
            return draw_paste(height, width, self.cutmix, random.make_generator(self.seed, "cutmix", step))
        return draw_blend(self.mixup, random.make_generator(self.seed, "mixup", step))

    def uses_cutmix(self, step: int) -> bool:
        """Return whether a step has CutMix and not mixup: with both one of them is drawn, as timm does for a batch."""
        if self.mixup and self.cutmix:
            return bool(random.make_generator(self.seed, "switch", step).random() < self.switch_prob)
        return bool(self.cutmix)

    def loss(self, logits: Tensor, labels: Tensor, others: Tensor | None = None, share: Tensor | None = None) -> Tensor:
        """Return the loss of each image, mixed ones the weighted mean of two labels' losses: [B, C], [B] -> [B]."""
        of_labels = self.label_loss(logits, labels)
        if others is None or share is None:
            return of_labels
        return share * of_labels + (1 - share) * self.label_loss(logits, others)

    def label_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each image, times the weight of its class if there are any: [B, C], [B] -> [B]."""
        losses = LOSSES[self.loss_name](logits, labels, self.smoothing)
        return (
            losses
            if self.class_weights is None
            else losses * self.class_weights.to(labels.device, non_blocking=True)[labels]
        )

    def evaluate(
        self, network: nn.Module, batches: Iterable[Batch], machine: Machine, tick: Callable[[int], None]
    ) -> Result:
        """Return top-1, top-5 and the loss without smoothing of all images of ``batches``, and the predictions."""
        loss, to_probabilities = LOSSES[self.loss_name], PROBABILITIES[self.loss_name]
        predictions = predict(network, batches, loss, machine, tick, to_probabilities)
        return {
            "top1": Metric(predictions.accuracy(1), "share"),
            "top5": Metric(predictions.accuracy(5), "share"),
            "loss": Metric(float(predictions.losses.mean(dtype=float)), lower_is_better=True),
            "test_images": len(predictions.labels),
            "predictions": predictions,
        }


def softmax_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the softmax cross-entropy of each image: [B, C], [B] -> [B]."""
    return functional.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)


def sigmoid_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the sigmoid cross-entropy of each image, summed over classes: [B, C], [B] or [B, K] -> [B] (big_vision).

    torch's own form computes x from log sigmoid(x), which at a head's first bias of -10 loses three digits of each
    class.
    """
    logits = logits.float()
    targets = encode_multi_hot(labels, logits.shape[1])
    if smoothing:
        targets = targets * (1 - smoothing) + smoothing / logits.shape[1]  # as softmax_loss smooths them
    return (functional.softplus(logits) - targets * logits).sum(1)


LOSSES = {"softmax": softmax_loss, "sigmoid": sigmoid_loss}
# Logits to probabilities [B, C]: of the classes together, or of each by itself
PROBABILITIES: dict[str, Callable[[Tensor], Tensor]] = {"softmax": softmax, "sigmoid": torch.sigmoid}


def encode_multi_hot(labels: Tensor, classes: int) -> Tensor:
    """Return 1 for each class of an image, else 0: [B], or [B, K] padded with -1, -> float32 [B, C]."""
    labels = labels.reshape(len(labels), -1)
    targets = torch.zeros(len(labels), classes + 1, device=labels.device)
    return targets.scatter_(1, labels.where(labels >= 0, classes), 1)[:, :classes]


def check_loss(loss_name: str, *splits: Split) -> None:
    """Raise UserError if a split has images of several labels and the loss handles only one."""
    if loss_name == "softmax" and any(split.labels.ndim > 1 for split in splits):
        boxes = " Its boxes are found with objective=detection." * any(split.boxes is not None for split in splits)
        raise UserError(
            "needs one label per image, but the data has images with several labels: use loss=sigmoid, or for vitrun "
            f"eval the init of a run that was trained with it.{boxes}",
            option="loss",
            value=loss_name,
        )
