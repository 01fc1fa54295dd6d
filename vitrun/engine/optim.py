"""Optimizers, weight decay and the EMA of the weights."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from torch.optim.optimizer import ParamsT

from vitrun.engine.adafactor import Adafactor, find_head_shapes
from vitrun.engine.rmsprop import RmsProp
from vitrun.models import Network, name_heads, number_layers
from vitrun.recipes.optimizer import Optim
from vitrun.runtime import shards

# An optimizer is a function of its parameter groups and of the recipe's options, whose class in recipes/optimizer.py
# depends on the optimizer.
OPTIMIZERS: dict[str, Callable[[ParamsT, Any], torch.optim.Optimizer]] = {
    "adam": lambda groups, options: torch.optim.Adam(groups, options.lr, options.betas, options.epsilon, fused=True),
    "adamw": lambda groups, options: torch.optim.AdamW(groups, options.lr, options.betas, options.epsilon, fused=True),
    "sgd": lambda groups, options: build_sgd(groups, options),
    "adafactor": lambda groups, options: Adafactor(groups, options.lr, options.momentum, options.max_decay),
    "rmsprop": lambda groups, options: RmsProp(
        groups, options.lr, options.square_decay, options.momentum, options.epsilon
    ),
}


class GroupKey(NamedTuple):
    """Parameters with an equal key have the same options. Groups are sorted by it, as a checkpoint numbers them."""

    depth: int  # layers below the head: 0 without layer decay, and with body_lr 1 for all but the head
    undecayed: bool
    own_decay: bool  # that of the head


def build_optimizer(options: Optim, network: nn.Module, body_lr: float | None = None) -> torch.optim.Optimizer:
    """Return the optimizer of all parameters of ``network`` that need a gradient.

    Weight decay applies to the parameters of :data:`DECAYED`; ``head_decay`` replaces it in the last layer. With
    ``layer_decay`` the learning rate of a layer is that factor times the rate of the next one: the head has the
    recipe's rate (BEiT, arXiv 2106.08254, its optim_factory.py; MAE, arXiv 2111.06377). ``body_lr`` is the rate of all
    but the head, None for that of the recipe.
    """
    depths, factor = find_depths(options, network, body_lr)
    shapes = find_head_shapes(network)
    members: dict[GroupKey, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decayed = DECAYED[options.decay](name, parameter) and not name.startswith(UNDECAYED)
            own = decayed and options.head_decay is not None and name.startswith("head.")
            members.setdefault(GroupKey(depths[name], not decayed, own), []).append((name, parameter))
    groups = [
        {
            "params": [parameter for _, parameter in members[key]],
            "shapes": [shapes.get(name) for name, _ in members[key]],
            "weight_decay": choose_decay(options, key),
            "lr_scale": factor**key.depth,
        }
        for key in sorted(members)
    ]
    optimizer = OPTIMIZERS[options.kind](groups, options)
    if (clamp := getattr(network, "clamp_scale", None)) is not None:  # of a CLIP
        optimizer.register_step_post_hook(lambda *_: clamp())
    return optimizer


def find_depths(options: Optim, network: nn.Module, body_lr: float | None) -> tuple[dict[str, int], float]:
    """Return how deep below the head each parameter is, by its name, and the factor of the learning rate a layer."""
    names = [name for name, _ in network.named_parameters()]
    layers: dict[str, int] = {}
    factor = options.layer_decay
    if body_lr is not None:
        heads = name_heads(cast(Network, network))
        layers, factor = {name: int(name in heads) for name in names}, body_lr / options.lr
    elif options.layer_decay < 1:
        layers = number_layers(cast(Network, network))
    head = max(layers.values(), default=0)
    return {name: head - layers.get(name, head) for name in names}, factor


def choose_decay(options: Optim, key: GroupKey) -> float:
    """Return the weight decay of a group of parameters, as torch's optimizers expect it."""
    rate = options.head_decay if key.own_decay and options.head_decay is not None else options.weight_decay
    return 0.0 if key.undecayed else convert_weight_decay(options, rate)


def build_sgd(groups: Any, options: Any) -> torch.optim.Optimizer:
    """Return SGD in one fused operation, which torch lacks for parameters of which ranks have parts."""
    members = [group["params"] if isinstance(group, dict) else [group] for group in groups]
    is_divided = any(shards.is_sharded(parameter) for parameters in members for parameter in parameters)
    fused = None if is_divided else True
    return torch.optim.SGD(groups, options.lr, momentum=options.momentum, nesterov=options.nesterov, fused=fused)


def list_trained(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that need a gradient."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def count_moments(options: Optim, network: nn.Module) -> int:
    """Return the bytes of an optimizer's state after its first step, without taking it."""
    if options.kind == "adafactor":
        return Adafactor.count_bytes(build_optimizer(options, network))
    weight = nn.Parameter(torch.zeros(1, 1, device="cpu"))
    weight.grad = torch.zeros_like(weight)
    optimizer = OPTIMIZERS[options.kind]([weight], options)
    optimizer.step()
    copies = sum(torch.is_tensor(value) and value.shape == weight.shape for value in optimizer.state[weight].values())
    return copies * sum(parameter.numel() * parameter.element_size() for parameter in list_trained(network))


def convert_weight_decay(options: Optim, rate: float) -> float:
    """Return a weight decay of the recipe as torch's optimizers expect it.

    A step of AdamW takes ``lr(t) * rate`` of each weight, which is what the paper's rates mean (arXiv 2106.10270,
    section 3.3): they are used unchanged. In big_vision (optax.py) the decay is added after the multiplication by the
    highest learning rate, and before that by the schedule s(t), which is 1 at most: a step takes ``s(t) * rate``. As
    lr(t) = lr * s(t), both are the same if big_vision's rate is divided by the highest learning rate.
    """
    if getattr(options, "decay_units", "paper") == "big_vision":
        return rate / options.lr
    return rate


def is_kernel(name: str, parameter: torch.Tensor) -> bool:
    """Return whether a parameter is a kernel (big_vision's ``.*/kernel``): no bias, norm, token or position is one."""
    return parameter.ndim > 1 and name.endswith("weight")


def is_matrix(name: str, parameter: torch.Tensor) -> bool:
    """Return whether a parameter is a kernel or a table, which CLIP decays: no gain, bias, class token or scale is one.

    Of tables of positions [1, N, D] and tokens the axes of size 1 do not count.
    """
    return is_kernel(name, parameter) or sum(size > 1 for size in parameter.shape) > 1


UNDECAYED = "logit_"  # what the names of a CLIP's temperature and bias begin with: these are never decayed

# The parameters that are decayed, by ``optim.decay``
DECAYED: dict[str, Callable[[str, torch.Tensor], bool]] = {
    "kernels": is_kernel,
    "matrices": is_matrix,
    "all": lambda name, parameter: True,
}


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group: ``lr`` times its share ``lr_scale``."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def update_ema(ema: list[torch.Tensor], network: nn.Module, decay: float) -> None:
    """Update the exponential moving average of the weights in place: ``ema = decay * ema + (1 - decay) * weights``."""
    torch._foreach_lerp_(ema, [p.detach() for p in network.parameters()], 1 - decay)


def update_ema_if(finite: torch.Tensor, ema: list[torch.Tensor], network: nn.Module, decay: float) -> None:
    """Update the average as :func:`update_ema` if ``finite``, which the device decides, is true; else change nothing.

    The weights themselves must be finite.
    """
    changes = torch._foreach_sub([p.detach() for p in network.parameters()], ema)
    torch._foreach_mul_(changes, finite * (1 - decay))
    torch._foreach_add_(ema, changes)


@torch.no_grad()
def start_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Give SGD a momentum of zero before its first step, which torch does not define if that update is left out."""
    if isinstance(optimizer, torch.optim.SGD):
        for group in optimizer.param_groups:
            for parameter in group["params"] if group["momentum"] else ():
                if optimizer.state[parameter].get("momentum_buffer") is None:
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
