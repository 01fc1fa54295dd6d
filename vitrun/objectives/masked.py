"""Predict the content of corrupted patches: the paper's masked patch prediction (arXiv 2010.11929, section 4.6, B.1.2).

The paper's code was never released; where its text is silent, the choice made here is marked as such.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun import models
from vitrun.data import Batch, Split
from vitrun.engine.inference import run_inference
from vitrun.models import MASKED, UNCHANGED
from vitrun.objectives.patches import add_corruption, build_masked_model, choose_patches, draw_numbers, select_corrupted
from vitrun.recipes import Masked, Model, Pretrain, ViT
from vitrun.runs.metrics import Metric, Result
from vitrun.runtime.device import Machine

LEVELS_PER_CHANNEL = 8  # 3 bits of each colour channel
COLOUR_CLASSES = LEVELS_PER_CHANNEL**3
COLOUR_GRID = 4  # colours along each side of a patch, for target=colours
OUTPUT_SIZES = {
    "colour": lambda patch: COLOUR_CLASSES,
    "colours": lambda patch: COLOUR_GRID**2 * COLOUR_CLASSES,
    "pixels": lambda patch: 3 * patch * patch,
}


@dataclass(frozen=True)
class MaskedObjective:
    """Predict the colour, 4 by 4 colours or the pixels of corrupted patches of ``patch`` by ``patch`` pixels."""

    options: Masked
    patch: int
    seed: int

    @classmethod
    def from_recipe(cls, recipe: Pretrain) -> "MaskedObjective":
        """Return the objective of a recipe."""
        options, model = cast(Masked, recipe.objective), cast(ViT, recipe.model)  # as the recipe has checked
        return cls(options, model.patch, recipe.seed)

    @property
    def output_size(self) -> int:
        """Return how many numbers the network outputs for each patch."""
        return OUTPUT_SIZES[self.options.target](self.patch)

    def check_data(self, *splits: Split) -> None:
        """Accept any images."""

    def build_model(self, model: Model, train: Split, res: int) -> models.LoadedModel:
        """Return an untrained network with a mask token and a linear layer for each token."""
        return build_masked_model(model, self.output_size, res)

    def prepare(self, batch: Batch, step: int) -> Batch:
        """Return the batch of a training step, corrupted by (seed, step, place in the batch of all ranks)."""
        return self.corrupt(batch, "corrupt", step, batch.offset + np.arange(len(batch.indices)))

    def corrupt(self, batch: Batch, purpose: str, step: int, places: np.ndarray) -> Batch:
        """Return the batch corrupted by (seed, purpose, step, places [B])."""
        tokens = (batch.pixels.shape[2] // self.patch) ** 2
        return add_corruption(batch, self.draw_corruption(draw_numbers(self.seed, purpose, step, places, tokens)))

    def draw_corruption(self, numbers: np.ndarray) -> np.ndarray:
        """Return what replaces each patch: [B, 3, N] of [0, 1) -> [B, N] of UNCHANGED, MASKED or a patch's index.

        "Another random patch" is another of the same image (our choice). A chosen patch that stays unchanged has
        its own index: the loss counts it too.
        """
        order, action, other = numbers[:, 0], numbers[:, 1], numbers[:, 2]
        tokens = order.shape[1]
        here = np.arange(tokens)
        elsewhere = (here + 1 + np.floor(other * (tokens - 1)).astype(np.int64)) % tokens
        mask, shuffled = self.options.mask, self.options.mask + self.options.other
        replaced = np.where(action < mask, MASKED, np.where(action < shuffled, elsewhere, here))
        return np.where(choose_patches(order, self.options.share), replaced, UNCHANGED)

    def loss(self, outputs: Tensor, images: Tensor, corruption: Tensor) -> Tensor:
        """Return each image's mean loss over its corrupted patches: [B, N, O], [B, 3, R, R], [B, N] -> [B].

        The loss of a patch is the cross-entropy of its colour or colours, or the mean squared difference of its pixels
        in [0, 1] (our choice).
        """
        predicted, patches = select_corrupted(outputs, images, corruption, self.options.share)  # [M, O], [M, 3, P, P]
        if self.options.target == "pixels":
            losses = (predicted - (patches.flatten(1) + 1) / 2).square().mean(1)
        else:
            classes = self.colour_classes(patches)  # [M, S]
            logits = predicted.view(-1, COLOUR_CLASSES)
            losses = functional.cross_entropy(logits, classes.flatten(), reduction="none").view_as(classes).mean(1)
        return losses.view(len(images), -1).mean(1)

    def colour_classes(self, patches: Tensor) -> Tensor:
        """Return the colours of patches as classes: [M, 3, P, P] in [-1, 1] -> [M, 1], or [M, 16] row by row.

        A colour is the mean of red, green and blue over the patch, or over each of its 4 by 4 parts (which overlap by
        a pixel if 4 does not divide P), each in one of 8 equal bins (our choice): class 64 r + 8 g + b.
        """
        side = 1 if self.options.target == "colour" else COLOUR_GRID
        colours = functional.adaptive_avg_pool2d((patches + 1) / 2, side)  # [M, 3, S, S] in [0, 1]
        red, green, blue = (colours * LEVELS_PER_CHANNEL).long().clamp(0, LEVELS_PER_CHANNEL - 1).flatten(2).unbind(1)
        return red * LEVELS_PER_CHANNEL**2 + green * LEVELS_PER_CHANNEL + blue

    def evaluate(
        self, network: nn.Module, batches: Iterable[Batch], machine: Machine, tick: Callable[[int], None]
    ) -> Result:
        """Return the loss on corrupted patches, the same ones every time, and the share of right colours."""

        def measure(images: Tensor, corruption: Tensor, *targets: Tensor) -> tuple[Tensor, ...]:
            outputs = network(images, corruption)
            return self.loss(outputs, *targets), self.colour_accuracy(outputs, *targets)

        corrupted = (self.corrupt(batch, "corrupt the test", 0, batch.indices) for batch in batches)
        losses, accuracies, indices = run_inference(network, corrupted, measure, machine, tick)
        colours = (
            {} if self.options.target == "pixels" else {"colour_accuracy": Metric(float(accuracies.mean()), "share")}
        )
        return {
            "masked_loss": Metric(float(losses.mean(dtype=float)), lower_is_better=True),
            **colours,
            "test_images": len(indices),
        }

    def colour_accuracy(self, outputs: Tensor, images: Tensor, corruption: Tensor) -> Tensor:
        """Return the share of each image's corrupted patches whose colours are right: [B]; zeros for pixels."""
        if self.options.target == "pixels":
            return torch.zeros(len(images))
        predicted, patches = select_corrupted(outputs, images, corruption, self.options.share)
        classes = self.colour_classes(patches)
        hits = predicted.view(*classes.shape, COLOUR_CLASSES).argmax(-1).eq(classes).float().mean(1)
        return hits.view(len(images), -1).mean(1)
