"""Optimizers, learning-rate schedules, weight decay and the EMA of the weights."""

from collections.abc import Callable, Sequence
from math import cos, pi
from typing import Any, cast

import torch
from torch import nn
from torch.optim.optimizer import ParamsT

from vitrun.models import Network, number_layers
from vitrun.recipes import Adam, Sgd

# An optimizer is a function of its parameter groups and of the recipe's options, whose class in recipes/optimizer.py
# depends on the optimizer.
OPTIMIZERS: dict[str, Callable[[ParamsT, Any], torch.optim.Optimizer]] = {
    "adam": lambda groups, options: torch.optim.Adam(groups, options.lr, betas=options.betas, fused=True),
    "adamw": lambda groups, options: torch.optim.AdamW(groups, options.lr, betas=options.betas, fused=True),
    "sgd": lambda groups, options: torch.optim.SGD(groups, options.lr, momentum=options.momentum, fused=True),
}


def build_optimizer(options: Adam | Sgd, network: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of all parameters of ``network`` that need a gradient.

    Weight decay applies to the parameters of :func:`is_decayed`, or with ``decay=all`` to all. With ``layer_decay`` the
    learning rate of a layer is that factor times the rate of the next one: the head has the recipe's rate (BEiT, arXiv
    2106.08254, its optim_factory.py; MAE, arXiv 2111.06377).
    """
    layers = number_layers(cast(Network, network)) if options.layer_decay < 1 else {}
    head = max(layers.values(), default=0)
    members: dict[tuple[int, bool], list[nn.Parameter]] = {}  # by depth below the head, and whether not decayed
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decayed = options.decay == "all" or is_decayed(name, parameter)
            members.setdefault((head - layers.get(name, head), not decayed), []).append(parameter)
    decay = convert_weight_decay(options)
    groups = [
        {"params": members[key], "weight_decay": 0.0 if key[1] else decay, "lr_scale": options.layer_decay ** key[0]}
        for key in sorted(members)
    ]
    return OPTIMIZERS[options.kind](groups, options)


def list_trained(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that need a gradient."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def count_moments(options: Adam | Sgd) -> int:
    """Return how many numbers an optimizer stores for each weight, found by one step on a single weight."""
    weight = nn.Parameter(torch.zeros(1, 1, device="cpu"))
    weight.grad = torch.zeros_like(weight)
    optimizer = OPTIMIZERS[options.kind]([weight], options)
    optimizer.step()
    return sum(torch.is_tensor(value) and value.shape == weight.shape for value in optimizer.state[weight].values())


def convert_weight_decay(options: Adam | Sgd) -> float:
    """Return the weight decay as torch's optimizers expect it.

    A step of AdamW takes ``lr(t) * rate`` of each weight, which is what the paper's rates mean (arXiv 2106.10270,
    section 3.3): they are used unchanged. In big_vision (optax.py) the decay is added after the multiplication by the
    highest learning rate, and before that by the schedule s(t), which is 1 at most: a step takes ``s(t) * rate``. As
    lr(t) = lr * s(t), both are the same if big_vision's rate is divided by the highest learning rate.
    """
    if getattr(options, "decay_units", "paper") == "big_vision":
        return options.weight_decay / options.lr
    return options.weight_decay


def is_decayed(name: str, parameter: torch.Tensor) -> bool:
    """Return whether a parameter is a kernel (big_vision's ``.*/kernel``): no bias, norm, token or position is one."""
    return parameter.ndim > 1 and name.endswith("weight")


# A schedule is a function of the highest learning rate, the last one, the share of the decay that is done, in [0, 1),
# and the number of drops so far.
SCHEDULES: dict[str, Callable[[float, float, float, int], float]] = {
    "cosine": lambda lr, end, progress, drops: end + (lr - end) * (0.5 * (1 + cos(pi * progress))),
    "linear": lambda lr, end, progress, drops: end + (lr - end) * (1 - progress),
    "staircase": lambda lr, end, progress, drops: lr / 10**drops,
    "constant": lambda lr, end, progress, drops: lr,
}


def build_schedule(
    kind: str, lr: float, steps: int, warmup: int, end: float = 0.0, drops: Sequence[int] = ()
) -> Callable[[int], float]:
    """Return the learning rate as a pure function of the step, counted from 0.

    It rises from 0 at step 0 to ``lr`` at step ``warmup``: with a warm-up the first step changes nothing but the
    moments, as in the public code (vision_transformer, utils.py). Then it falls as ``SCHEDULES[kind]`` says: to ``end``
    at step ``steps``, which no step reaches, or to a tenth after each of ``drops`` (big_transfer, bit_hyperrule.py).
    """

    def lr_at(step: int) -> float:
        if step < warmup:
            return lr * step / warmup
        progress = (step - warmup) / (steps - warmup)
        return SCHEDULES[kind](lr, end, progress, sum(step > drop for drop in drops))

    return lr_at


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group: ``lr`` times its share ``lr_scale``."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def update_ema(ema: list[torch.Tensor], network: nn.Module, decay: float) -> None:
    """Update the exponential moving average of the weights in place: ``ema = decay * ema + (1 - decay) * weights``."""
    torch._foreach_lerp_(ema, [p.detach() for p in network.parameters()], 1 - decay)
