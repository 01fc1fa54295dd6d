"""Corrupted patches of images, which masked.py and simmim.py predict."""

from dataclasses import replace
from math import isqrt
from typing import cast

import numpy as np
import torch
from torch import Tensor

from vitrun import models
from vitrun.data import Batch
from vitrun.models import UNCHANGED
from vitrun.recipes import Model, ViT
from vitrun.runtime import random

DRAWS = 3  # random numbers of a patch: whether it is corrupted, how, and with which other patch


def build_masked_model(model: Model, outputs: int, res: int) -> models.LoadedModel:
    """Return an untrained ViT with a mask token and, in place of a head, a layer of ``outputs`` numbers a patch."""
    network = models.build_masked(cast(ViT, model), outputs, res)  # as the recipe has checked
    return models.LoadedModel(network, network.row, 0, res, None)


def draw_numbers(seed: int, purpose: str, step: int, places: np.ndarray, tokens: int) -> np.ndarray:
    """Return numbers in [0, 1) for each patch of the images at ``places`` [B]: [B, DRAWS, N]."""
    return random.uniform(seed, purpose, step, places, DRAWS * tokens).reshape(-1, DRAWS, tokens)


def choose_patches(numbers: np.ndarray, share: float) -> np.ndarray:
    """Return which patches are corrupted, equally many in each image so that all count alike: [B, N] -> [B, N]."""
    return numbers.argsort(1).argsort(1) < count_corrupted(share, numbers.shape[1])


def count_corrupted(share: float, patches: int) -> int:
    """Return how many of the patches of an image are corrupted."""
    return max(1, round(share * patches))


def add_corruption(batch: Batch, corruption: np.ndarray) -> Batch:
    """Return the batch whose labels are its own images, with ``corruption`` [B, N] for the network and for the loss."""
    tensor = torch.from_numpy(corruption)
    return replace(batch, labels=batch.pixels, inputs=(tensor,), targets=(tensor,))


def select_corrupted(outputs: Tensor, images: Tensor, corruption: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return the outputs at the K corrupted patches of each image, and these patches: [B K, O] and [B K, 3, P, P].

    Their number follows from the ``share``: a mask would have to be read from the device to know how many it selects.
    """
    number, side = count_corrupted(share, corruption.shape[1]), isqrt(corruption.shape[1])
    places = (corruption == UNCHANGED).byte().argsort(dim=1, stable=True)[:, :number]  # of corrupted patches, in order
    patches = patchify(images, images.shape[-1] // side)
    chosen = (
        tensor.flatten(2).gather(1, places[:, :, None].expand(-1, -1, tensor[0, 0].numel())).flatten(0, 1)
        for tensor in (outputs, patches)
    )
    return next(chosen).float(), next(chosen).unflatten(1, patches.shape[2:])


def patchify(images: Tensor, patch: int) -> Tensor:
    """Cut images into patches, row by row: [B, 3, R, R] -> [B, N, 3, P, P]."""
    rows = images.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))  # [B, 3, R/P, P, R/P, P]
    return rows.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
