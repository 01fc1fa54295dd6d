"""Optimizers, schedules, and what is decayed."""

from collections.abc import Callable, Sequence
from math import cos, pi

import torch
from torch import nn

from vitrun import recipes


def build_optimizer(optim: recipes.Adam | recipes.Sgd, network: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer over all parameters of ``network``; weight decay where ``is_decayed`` says so, or on all."""
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    chosen = [optim.decay == "all" or is_decayed(name, p) for name, p in named]
    groups = [
        {"params": [p for (_, p), c in zip(named, chosen) if c], "weight_decay": convert_weight_decay(optim)},
        {"params": [p for (_, p), c in zip(named, chosen) if not c], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if optim.kind == "sgd":
        return torch.optim.SGD(groups, optim.lr, momentum=optim.momentum, fused=True)
    kind = torch.optim.AdamW if optim.kind == "adamw" else torch.optim.Adam
    return kind(groups, optim.lr, betas=optim.betas, fused=True)


def convert_weight_decay(optim: recipes.Adam | recipes.Sgd) -> float:
    """The rate as torch's optimizers take it.

    A step of AdamW takes ``lr(t) * rate`` of each weight, which is what the paper's rates mean (arXiv 2106.10270,
    section 3.3): they are taken as they are. In big_vision (optax.py) the decay is added behind the multiplication by
    the highest learning rate, and before that by the schedule s(t), which is 1 at most: a step takes ``s(t) * rate``.
    As lr(t) = lr * s(t), both are the same where big_vision's rate is divided by the highest learning rate.
    """
    if optim.kind != "sgd" and optim.decay_units == "big_vision":
        return optim.weight_decay / optim.lr
    return optim.weight_decay


def is_decayed(name: str, parameter: torch.Tensor) -> bool:
    """Kernels are decayed; biases, norms, tokens and position tables are not (big_vision's ``.*/kernel``)."""
    return parameter.ndim > 1 and name.endswith("weight")


def cosine_decay(progress: float) -> float:
    """From 1 to 0 along half a cosine."""
    return 0.5 * (1 + cos(pi * progress))


SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": cosine_decay,
    "linear": lambda progress: 1 - progress,
}


def build_schedule(
    kind: str, lr: float, steps: int, warmup: int, end: float = 0.0, drops: Sequence[int] = ()
) -> Callable[[int], float]:
    """The learning rate as a pure function of the step, counted from 0.

    It rises from 0 at step 0 to ``lr`` at step ``warmup``: with a warm-up the first step moves nothing but the
    momenta, as in the public code (vision_transformer, utils.py). Then it falls along ``kind`` towards ``end`` at step
    ``steps``, which no step reaches; or to a tenth after each of ``drops`` (big_transfer, bit_hyperrule.py); or stays.
    """

    def at(step: int) -> float:
        if step < warmup:
            return lr * step / warmup
        if kind in SCHEDULES:
            return end + (lr - end) * SCHEDULES[kind]((step - warmup) / (steps - warmup))
        return lr / 10 ** sum(step > drop for drop in drops)

    return at


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def update_ema(ema: list[torch.Tensor], network: nn.Module, decay: float) -> None:
    """Move the Polyak average towards the weights: ``ema = decay * ema + (1 - decay) * weights``."""
    torch._foreach_lerp_(ema, [p.detach() for p in network.parameters()], 1 - decay)
