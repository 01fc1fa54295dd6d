"""Training of a small network by several ranks."""

from collections.abc import Sequence
from typing import Any

from helpers.training import CPU, build_small_vit, make_state, random_batch
from vitrun import data
from vitrun.data.sampler import rank_range
from vitrun.engine.fit_options import FitOptions
from vitrun.engine.loop import fit
from vitrun.objectives.labels import LOSSES
from vitrun.runtime import distributed
from vitrun.runtime.replicas import Replica

IMAGES = 12  # of a step


def train_replicas(attempts: Sequence[int]) -> tuple[list[float], list[Any]]:
    """Train a network by so many steps in each attempt, which continues the one before; return losses and weights."""
    network = build_small_vit()
    state, losses = make_state(network, micro=2, kind="sgd"), []
    for steps in attempts:
        network.requires_grad_(True)
        if distributed.world_size() > 1:
            state.replica = Replica(network, CPU.device)
        batches = [share_batch(step) for step in range(state.step, state.step + steps)]
        options = FitOptions(LOSSES["softmax"], IMAGES, lambda _: 0.01, 1.0, None, 0, CPU, lambda _: None)
        losses += [step.loss for step in fit(state, batches, options)]
    return losses, [p.detach().numpy() for p in network.parameters()]


def share_batch(step: int) -> data.Batch:
    """Return this rank's part of the batch of a step."""
    batch = random_batch(IMAGES, seed=step)
    rows = slice(*rank_range(IMAGES, distributed.rank(), distributed.world_size()))
    return data.Batch(batch.images[rows], batch.labels[rows], batch.indices[rows], offset=rows.start)
