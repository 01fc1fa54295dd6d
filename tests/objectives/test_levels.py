"""Objectives train on images of 8 bits, which the device scales and mixes, as on those that are scaled before."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vitrun.config import resolve
from vitrun.data import Batch
from vitrun.objectives import build_objective
from vitrun.objectives.labels import LabelObjective
from vitrun.objectives.pseudo import PseudoObjective

CPU = torch.device("cpu")


def make_batches(size: int) -> tuple[Batch, Batch]:
    """Return the same random images in [-1, 1] and in 8 bits."""
    pixels = torch.randint(256, (size, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    levels = Batch(pixels, torch.arange(size), np.arange(size))
    return replace(levels, pixels=levels.images), levels


def build_pseudo(labels: LabelObjective) -> PseudoObjective:
    """Return an objective for labelled and unlabelled images."""
    return PseudoObjective.build(labels, True, 1, None)


OBJECTIVES = {
    "labels": LabelObjective("softmax"),
    "mixup": LabelObjective("softmax", mixup=0.2),
    "CutMix": LabelObjective("softmax", cutmix=1.0),
    "pseudo, mixup": build_pseudo(LabelObjective("softmax", mixup=0.2)),
    "pseudo, CutMix": build_pseudo(LabelObjective("softmax", cutmix=1.0)),
    "masked": None,
    "simmim": None,
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_computes_with_the_same_images_and_targets(name):
    objective = OBJECTIVES[name]
    if objective is None:
        objective = build_objective(resolve.resolve_recipe("pretrain", [f"objective={name}", "model=vit_nano8"]))
    shares = torch.tensor([[0.0]] * 3 + [[0.5]] * 5)
    floats, levels = (
        objective.prepare(replace(batch, targets=(torch.arange(8)[:, None], shares)), 3) for batch in make_batches(8)
    )
    assert levels.pixels.dtype == torch.uint8 and torch.equal(levels.images, floats.images)
    for rows in (slice(0, 3), slice(3, 8), np.array([5, 0])):
        parts = [batch.micro_batch(rows, CPU) for batch in (floats, levels)]
        for expected, actual in zip(*parts):
            assert [tensor.dtype for tensor in actual] == [tensor.dtype for tensor in expected]
            assert all(map(torch.equal, actual, expected))
