"""Predict the pixels of masked patches: SimMIM (arXiv 2111.09886) as transformers' ``ViTForMaskedImageModeling``."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
from torch import Tensor, nn

from vitrun import models
from vitrun.data import Batch, Split
from vitrun.engine.inference import run_inference
from vitrun.models import MASKED, UNCHANGED
from vitrun.objectives.patches import add_corruption, build_masked_model, choose_patches, draw_numbers, select_corrupted
from vitrun.recipes import Model, Pretrain, SimMim, ViT
from vitrun.runs.metrics import Metric, Result
from vitrun.runtime.device import Machine


@dataclass(frozen=True)
class SimMimObjective:
    """Predict the pixels of a ``share`` of the patches of ``patch`` by ``patch`` pixels, which are masked."""

    share: float
    patch: int
    seed: int

    @classmethod
    def from_recipe(cls, recipe: Pretrain) -> "SimMimObjective":
        """Return the objective of a recipe."""
        options, model = cast(SimMim, recipe.objective), cast(ViT, recipe.model)  # as the recipe has checked
        return cls(options.share, model.patch, recipe.seed)

    def check_data(self, *splits: Split) -> None:
        """Accept any images."""

    def build_model(self, model: Model, train: Split, res: int) -> models.LoadedModel:
        """Return an untrained network with a mask token and a linear layer for each token."""
        return build_masked_model(model, 3 * self.patch * self.patch, res)

    def prepare(self, batch: Batch, step: int) -> Batch:
        """Return the batch of a training step, masked by (seed, step, place in the batch of all ranks)."""
        return self.corrupt(batch, "corrupt", step, batch.offset + np.arange(len(batch.indices)))

    def corrupt(self, batch: Batch, purpose: str, step: int, places: np.ndarray) -> Batch:
        """Return the batch masked by (seed, purpose, step, places [B])."""
        tokens = (batch.pixels.shape[2] // self.patch) ** 2
        order = draw_numbers(self.seed, purpose, step, places, tokens)[:, 0]
        return add_corruption(batch, np.where(choose_patches(order, self.share), MASKED, UNCHANGED))

    def loss(self, outputs: Tensor, images: Tensor, corruption: Tensor) -> Tensor:
        """Return the mean absolute difference over each image's masked patches, of pixels in [-1, 1]: [B]."""
        predicted, patches = select_corrupted(outputs, images, corruption, self.share)
        return (predicted - patches.flatten(1)).abs().mean(1).view(len(images), -1).mean(1)

    def evaluate(
        self, network: nn.Module, batches: Iterable[Batch], machine: Machine, tick: Callable[[int], None]
    ) -> Result:
        """Return the loss on masked patches, the same ones every time."""

        def measure(images: Tensor, corruption: Tensor, *targets: Tensor) -> tuple[Tensor]:
            return (self.loss(network(images, corruption), *targets),)

        masked = (self.corrupt(batch, "corrupt the test", 0, batch.indices) for batch in batches)
        losses, indices = run_inference(network, masked, measure, machine, tick)
        return {
            "masked_loss": Metric(float(losses.mean(dtype=float)), lower_is_better=True),
            "test_images": len(indices),
        }
