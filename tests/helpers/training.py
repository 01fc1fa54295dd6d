"""Train small networks on random batches."""

from dataclasses import replace

import numpy as np
import torch

from vitrun import data, models
from vitrun.config import resolve
from vitrun.engine import optim
from vitrun.engine.loop import FitOptions, fit
from vitrun.engine.state import TrainState
from vitrun.objectives.labels import LOSSES
from vitrun.recipes import tables
from vitrun.runtime.device import Machine

CPU = Machine("cpu", "fp32")


def build_small_vit(classes: int = 10, **changes) -> torch.nn.Module:
    """Build a ViT of two blocks for images of 32 pixels."""
    torch.manual_seed(0)
    row = replace(tables.load_model_rows()["vit_nano8"], depth=2, **changes)
    return models.build(row, classes, 32)


def random_batch(size: int, classes: int = 10, seed: int = 0) -> data.Batch:
    """Return random images [size, 3, 32, 32] in [-1, 1] with random labels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(size, 3, 32, 32, generator=generator) * 2 - 1
    return data.Batch(images, torch.randint(classes, (size,), generator=generator), np.arange(size))


def byte_batch(size: int, classes: int = 10, seed: int = 0) -> data.Batch:
    """Return a random batch as a GPU gets it: of images in 8 bits."""
    batch = random_batch(size, classes, seed)
    return replace(batch, pixels=((batch.pixels + 1) * 127.5).round().byte())


def make_state(network, micro=8, kind="sgd", **options) -> TrainState:
    """Return the training state of a network, with an optimizer of ``kind``."""
    overrides = ["init=random:vit_nano8", f"optim={kind}", *(f"optim.{k}={v}" for k, v in options.items())]
    recipe = resolve.resolve_recipe("finetune", overrides).optim
    return TrainState(network, optim.build_optimizer(recipe, network), None, 0, micro)


def train_steps(
    state,
    batches,
    lr=0.05,
    clip=1.0,
    decay=None,
    machine=CPU,
    loss=LOSSES["softmax"],
    tick=lambda _: None,
    fit=fit,
    **more,
):
    """Train on ``batches``, all of one size, at a constant learning rate; return the steps."""
    options = FitOptions(loss, len(batches[0].labels), lambda step: lr, clip, decay, 0, machine, tick, **more)
    return list(fit(state, batches, options))
