"""Optimizers, schedules, and what is decayed."""

from collections.abc import Callable
from math import cos, pi

import torch
from torch import nn

from vitrun import recipe


def optimizer(optim: recipe.Adam | recipe.Sgd, network: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer over all parameters of ``network``; weight decay only where ``decayed`` says so.

    ``adamw`` takes the paper's decay rates as they are: both are relative to the learning rate (arXiv 2106.10270, 3.3).
    """
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for name, p in named if decayed(name, p)], "weight_decay": optim.weight_decay},
        {"params": [p for name, p in named if not decayed(name, p)], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if optim.kind == "sgd":
        return torch.optim.SGD(groups, optim.lr, momentum=optim.momentum, fused=True)
    kind = torch.optim.AdamW if optim.kind == "adamw" else torch.optim.Adam
    return kind(groups, optim.lr, betas=optim.betas, fused=True)


def decayed(name: str, parameter: torch.Tensor) -> bool:
    """Kernels are decayed; biases, norms, tokens and position tables are not (big_vision's ``.*/kernel``)."""
    return parameter.ndim > 1 and name.endswith("weight")


def cosine(progress: float) -> float:
    """From 1 to 0 along half a cosine."""
    return 0.5 * (1 + cos(pi * progress))


SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": cosine,
    "linear": lambda progress: 1 - progress,
    "constant": lambda progress: 1.0,
}


def schedule(kind: str, lr: float, steps: int, warmup: int) -> Callable[[int], float]:
    """The learning rate as a pure function of the step, counted from 0.

    It rises from 0 at step 0 to ``lr`` at step ``warmup``, then falls as ``kind`` says towards 0 at step ``steps``.
    """
    decay = SCHEDULES[kind]

    def at(step: int) -> float:
        if step < warmup:
            return lr * step / warmup
        return lr * decay((step - warmup) / (steps - warmup))

    return at


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def average(ema: list[torch.Tensor], network: nn.Module, decay: float) -> None:
    """Move the Polyak average towards the weights: ``ema = decay * ema + (1 - decay) * weights``."""
    torch._foreach_lerp_(ema, [p.detach() for p in network.parameters()], 1 - decay)
