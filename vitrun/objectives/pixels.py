"""Predict the colours of an image's pixels: the objectives of ImageGPT (Chen et al. 2020, "Generative Pretraining from
Pixels"; openai/image-gpt, src/model.py and run.py).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import log
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun import models
from vitrun.data import Batch, Split
from vitrun.engine.inference import run_inference
from vitrun.engine.interfaces import Objective
from vitrun.errors import UserError
from vitrun.objectives.labels import LabelObjective
from vitrun.objectives.palette import load_palette
from vitrun.recipes import IGpt, Model, Pixels, PixelsBert, Pretrain, View
from vitrun.runs.metrics import Metric, Result
from vitrun.runtime import random
from vitrun.runtime.device import Machine


@dataclass(frozen=True)
class PixelObjective:
    """Predict each pixel's colour from those before it, or with a ``share`` that of hidden pixels from all others."""

    palette: str  # kmeans or even
    share: float | None  # probability with which a pixel is hidden; None for the next pixel's colour
    view: View
    seed: int

    @classmethod
    def from_recipe(cls, recipe: Pretrain) -> "PixelObjective":
        """Return the objective of a recipe."""
        options = cast(Pixels | PixelsBert, recipe.objective)
        return cls(options.palette, getattr(options, "share", None), recipe.view, recipe.seed)

    def check_data(self, *splits: Split) -> None:
        """Accept any images."""

    def build_model(self, model: Model, train: Split, res: int) -> models.LoadedModel:
        """Return an untrained network whose colours are those of the training images."""
        predicts_next = self.share is None
        row = replace(cast(IGpt, model), causal=predicts_next, start=predicts_next)  # as the recipe has checked
        network = models.build_pixel_predictor(row, res)
        colours = load_palette(train, self.view, res, row.colours) if self.palette == "kmeans" else None
        if colours is not None:
            network.colours.copy_(colours)
        return models.LoadedModel(network, row, 0, res, None)

    def prepare(self, batch: Batch, step: int) -> Batch:
        """Return the batch of a training step; what is hidden is of (seed, step, place in the batch of all ranks)."""
        return self.hide(batch, "hide", step, batch.offset + np.arange(len(batch.indices)))

    def hide(self, batch: Batch, purpose: str, step: int, places: np.ndarray) -> Batch:
        """Return the batch with the pixels [B, N] that the network does not see, by (seed, purpose, step, places)."""
        hidden = torch.zeros(len(batch.indices), 0, dtype=torch.bool)
        if self.share is not None:
            numbers = random.uniform(self.seed, purpose, step, places, batch.pixels[0, 0].numel())
            hidden = torch.from_numpy((numbers < self.share) | (numbers == numbers.min(1, keepdims=True)))
        return replace(batch, labels=hidden, inputs=(hidden,))

    def loss(self, outputs: tuple[Tensor, Tensor], hidden: Tensor) -> Tensor:
        """Return each image's mean loss in nats over its pixels, or over the hidden ones: -> [B]."""
        losses = colour_losses(*outputs)
        if self.share is None:
            return losses.mean(1)
        return (losses * hidden).sum(1) / hidden.sum(1)

    def evaluate(
        self, network: nn.Module, batches: Iterable[Batch], machine: Machine, tick: Callable[[int], None]
    ) -> Result:
        """Return the loss of all images of ``batches`` in nats and bits a pixel, the same pixels hidden every time."""

        def measure(images: Tensor, hidden: Tensor, *targets: Tensor) -> tuple[Tensor]:
            return (self.loss(network(images, hidden), *targets),)

        hiding = (self.hide(batch, "hide in the test", 0, batch.indices) for batch in batches)
        losses, indices = run_inference(network, hiding, measure, machine, tick)
        nats = float(losses.mean(dtype=float))
        return {
            "pixel_loss": Metric(nats, "nats", lower_is_better=True),
            "pixel_bits": Metric(nats / log(2), "bits", lower_is_better=True),
            "test_images": len(indices),
        }


@dataclass(frozen=True)
class JointObjective:
    """Predict labels, and the colours of pixels with a ``weight``, as ImageGPT is fine-tuned (section 2.3)."""

    labels: LabelObjective
    weight: float

    def check_data(self, *splits: Split) -> None:
        """Raise UserError if images have several labels and the loss handles only one."""
        self.labels.check_data(*splits)

    def build_model(self, model: Model, train: Split, res: int) -> models.LoadedModel:
        """Return an untrained network with a head of the training images' classes."""
        return self.labels.build_model(model, train, res)

    def prepare(self, batch: Batch, step: int) -> Batch:
        """Return the batch of a training step."""
        return self.labels.prepare(batch, step)

    def loss(self, outputs: tuple[Tensor, Tensor, Tensor], *targets: Tensor) -> Tensor:
        """Return the loss of each image's labels plus the weighted loss of its pixels: [B]."""
        logits, colours, ids = outputs
        return self.labels.loss(logits, *targets) + self.weight * colour_losses(colours, ids).mean(1)

    def evaluate(
        self, network: nn.Module, batches: Iterable[Batch], machine: Machine, tick: Callable[[int], None]
    ) -> Result:
        """Return the metrics of labels."""
        return self.labels.evaluate(network, batches, machine, tick)


def add_generative_loss(objective: Objective, network: models.Network, weight: float) -> Objective:
    """Return the objective with the loss of each pixel's colour, and let the network predict them; as it is if 0.

    Raise UserError if the network does not predict the next pixel's colour.
    """
    if not weight:
        return objective
    if not isinstance(network, models.IGpt) or not network.row.start or not isinstance(objective, LabelObjective):
        why = f"is for an ImageGPT that predicts the next pixel, which {network.row.name} does not: leave it out."
        raise UserError(why, option="generative", value=f"{weight:g}")
    network.train_colours()
    return JointObjective(objective, weight)


def colour_losses(logits: Tensor, ids: Tensor) -> Tensor:
    """Return the cross-entropy of each pixel in nats: [B, N, K], [B, N] -> [B, N]."""
    flat = functional.cross_entropy(logits.flatten(0, 1).float(), ids.flatten(), reduction="none")
    return flat.view_as(ids)
