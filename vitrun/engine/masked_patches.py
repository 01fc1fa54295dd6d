"""What a network is trained for without labels: what its corrupted patches showed.

The paper's masked patch prediction (arXiv 2010.11929, section 4.6 and appendix B.1.2), and the variant of transformers
and SimMIM. The paper's code was never released; where its text is silent we chose, and say so at each place.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun.data import Batch
from vitrun.engine.inference import run_inference
from vitrun.models import MASKED, UNCHANGED
from vitrun.recipes import Masked, SimMim
from vitrun.runtime import random
from vitrun.runtime.device import Machine

LEVELS_PER_CHANNEL = 8  # of each colour channel: 3 bits
COLOUR_CLASSES = LEVELS_PER_CHANNEL**3  # classes
COLOUR_GRID = 4  # along each side of a patch, for target=colours
OUTPUT_SIZES = {
    "colour": lambda patch: COLOUR_CLASSES,
    "colours": lambda patch: COLOUR_GRID**2 * COLOUR_CLASSES,
    "pixels": lambda p: 3 * p * p,
}


@dataclass(frozen=True)
class MaskedPatchObjective:
    """To tell what corrupted patches of ``patch`` by ``patch`` pixels showed."""

    objective: Masked | SimMim
    patch: int
    seed: int

    @property
    def target(self) -> str:
        """What of a patch is told."""
        return self.objective.target if isinstance(self.objective, Masked) else "pixels"

    @property
    def output_size(self) -> int:
        """Numbers that the network tells of each patch."""
        return OUTPUT_SIZES[self.target](self.patch)

    def prepare(self, batch: Batch, step: int) -> Batch:
        """The batch that training sees at a step: its patches corrupted as drawn from (seed, step, place in it)."""
        return self.corrupt(batch, "corrupt", step, batch.offset + np.arange(len(batch.images)))

    def corrupt(self, batch: Batch, purpose: str, number: int, places: np.ndarray) -> Batch:
        """The batch whose labels are its own images, with the corruption of each [N] for network and loss."""
        tokens = (batch.images.shape[2] // self.patch) ** 2
        numbers = random.uniform(self.seed, purpose, number, places, 3 * tokens).reshape(-1, 3, tokens)
        corruption = torch.from_numpy(self.draw_corruption(numbers))
        return replace(batch, labels=batch.images, inputs=(corruption,), targets=(corruption,))

    def draw_corruption(self, numbers: np.ndarray) -> np.ndarray:
        """What stands at each patch: [B, 3, N] of [0, 1) -> [B, N], ``UNCHANGED``, ``MASKED`` or the place of a patch.

        The same number of patches in every image, so that each counts alike; what becomes of each is drawn by itself.
        "Another random patch" is another of the same image, and of those kept (place n at n) the loss is taken too.
        """
        order, fate, other = numbers[:, 0], numbers[:, 1], numbers[:, 2]
        tokens = order.shape[1]
        chosen = order.argsort(1).argsort(1) < max(1, round(self.objective.share * tokens))
        own = np.arange(tokens)
        if isinstance(self.objective, SimMim):
            return np.where(chosen, MASKED, UNCHANGED)
        stranger = (own + 1 + np.floor(other * (tokens - 1)).astype(np.int64)) % tokens
        mask, shuffled = self.objective.mask, self.objective.mask + self.objective.other
        return np.where(chosen, np.where(fate < mask, MASKED, np.where(fate < shuffled, stranger, own)), UNCHANGED)

    def loss(self, outputs: Tensor, images: Tensor, corruption: Tensor) -> Tensor:
        """The mean over each image's corrupted patches: [B, N, O], [B, 3, R, R], [B, N] -> [B].

        Cross-entropy of the colour, or the mean of those of 4 by 4 colours; for pixels the mean of squares (SimMim: of
        absolute differences) over a patch, in [0, 1] for the paper's, which predicts an image, in [-1, 1] for SimMim.
        """
        told = corruption != UNCHANGED
        found, patches = outputs[told].float(), patchify(images, self.patch)[told]  # [M, O], [M, 3, P, P]
        if isinstance(self.objective, SimMim):
            losses = (found - patches.flatten(1)).abs().mean(1)
        elif self.target == "pixels":
            losses = (found - (patches.flatten(1) + 1) / 2).square().mean(1)
        else:
            classes = self.colour_classes(patches)  # [M, S]
            found = found.view(-1, COLOUR_CLASSES)
            losses = functional.cross_entropy(found, classes.flatten(), reduction="none").view_as(classes).mean(1)
        return losses.view(len(images), -1).mean(1)

    def colour_classes(self, patches: Tensor) -> Tensor:
        """The colours of patches as classes: [M, 3, P, P] in [-1, 1] -> [M, 1], or [M, 16] row by row for 4 by 4.

        The mean of red, green and blue over the patch, or over each of 4 by 4 parts of it (where 4 does not divide P
        they overlap by a pixel), cut into 8 equal bins each: class 64 r + 8 g + b.
        """
        spots = 1 if self.target == "colour" else COLOUR_GRID
        colours = functional.adaptive_avg_pool2d((patches + 1) / 2, spots)  # [M, 3, S, S] in [0, 1]
        red, green, blue = (colours * LEVELS_PER_CHANNEL).long().clamp(0, LEVELS_PER_CHANNEL - 1).flatten(2).unbind(1)
        return red * LEVELS_PER_CHANNEL**2 + green * LEVELS_PER_CHANNEL + blue

    def evaluate(
        self, network: nn.Module, batches: Iterable[Batch], machine: Machine, tick: Callable
    ) -> dict[str, Any]:
        """The loss on corrupted patches of every image, the same at any time, and the share of right colours."""

        def answer(images: Tensor, corruption: Tensor, *targets: Tensor) -> tuple[Tensor, ...]:
            outputs = network(images, corruption)
            return self.loss(outputs, *targets), self.colour_accuracy(outputs, *targets)

        fixed = (self.corrupt(batch, "corrupt the test", 0, batch.indices) for batch in batches)
        losses, right, indices = run_inference(network, fixed, answer, machine, tick)
        accuracy = {} if self.target == "pixels" else {"colour_accuracy": float(right.mean())}
        return {"masked_loss": float(losses.mean()), **accuracy, "test_images": len(indices)}

    def colour_accuracy(self, outputs: Tensor, images: Tensor, corruption: Tensor) -> Tensor:
        """The share of each image's corrupted patches whose colours the network tells: [B]; zeros for pixels."""
        if self.target == "pixels":
            return torch.zeros(len(images))
        told = corruption != UNCHANGED
        classes = self.colour_classes(patchify(images, self.patch)[told])
        hits = outputs[told].view(*classes.shape, COLOUR_CLASSES).argmax(-1).eq(classes).float().mean(1)
        return hits.view(len(images), -1).mean(1)


def patchify(images: Tensor, patch: int) -> Tensor:
    """The patches of images, row by row: [B, 3, R, R] -> [B, N, 3, P, P]."""
    rows = images.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))  # [B, 3, R/P, P, R/P, P]
    return rows.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
