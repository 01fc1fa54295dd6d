"""RMSProp as TensorFlow computes it, by which EfficientNets are trained (arXiv 1905.11946, section 5)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from vitrun.runtime import shards


class RmsProp(torch.optim.Optimizer):
    """RMSProp with TensorFlow's details, as ``timm.optim.RMSpropTF``; ``torch.optim.RMSprop`` has none of the three.

    Epsilon is added to the mean square before its root; the mean square starts at 1, not at 0; and the momentum sums
    up steps, each with the learning rate of its time. Weight decay is added to the gradient (L2).

    Args:
        decay: Decay of the mean square of the gradient.
    """

    def __init__(self, params: ParamsT, lr: float, decay: float, momentum: float, epsilon: float):
        defaults = {"lr": lr, "decay": decay, "momentum": momentum, "epsilon": epsilon, "weight_decay": 0.0}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update each parameter that has a gradient."""
        for group in self.param_groups:
            if parameters := [parameter for parameter in group["params"] if parameter.grad is not None]:
                self.update(parameters, group)

    def update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Update the parameters of a group."""
        gradients = list_local_parts(parameter.grad for parameter in parameters if parameter.grad is not None)
        weights = list_local_parts(parameters)
        if group["weight_decay"]:
            decay = torch.tensor(group["weight_decay"], dtype=torch.float32).item()  # torch raises if it is too large
            gradients = list(torch._foreach_add(gradients, weights, alpha=decay))
        squares = self.get_moments("square", parameters, torch.ones_like)
        torch._foreach_mul_(squares, group["decay"])
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["decay"])
        roots = list(torch._foreach_add(squares, group["epsilon"]))
        torch._foreach_sqrt_(roots)
        steps = list(torch._foreach_div(gradients, roots))
        torch._foreach_mul_(steps, group["lr"])
        if group["momentum"]:
            momenta = self.get_moments("momentum", parameters, torch.zeros_like)
            torch._foreach_mul_(momenta, group["momentum"])
            torch._foreach_add_(momenta, steps)
            steps = momenta
        torch._foreach_sub_(weights, steps)

    def get_moments(self, name: str, parameters: list[Tensor], start: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """Return this rank's part of a moment of each parameter; in the first step ``start`` makes it."""
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = start(parameter)
        return list_local_parts(self.state[parameter][name] for parameter in parameters)


def list_local_parts(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return this rank's parts of tensors, which share their memory."""
    return [shards.local_part(tensor) for tensor in tensors]
