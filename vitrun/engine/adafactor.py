"""Adafactor as in "Scaling vision transformers" (arXiv 2106.04560, section 3.4; big_vision, optax.py)."""

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from vitrun.models.attention import Attention, AttentionPool
from vitrun.runtime import shards

FACTORED_SIZE = 32  # the second largest axis of a weight whose mean squares are factored has at least this many entries
DECAY_EXPONENT = 0.8  # the mean of squares has decay 1 - t^-0.8 in step t
EPSILON = 1e-30  # added to each square


class Adafactor(torch.optim.Optimizer):
    """Adam's update with factored mean squares and a momentum in bfloat16: half as many bytes as the weights.

    The squared gradient's means over rows and over columns stand for a mean of each weight; small weights have that.
    There is no clipping of updates, no scaling by the weights' norm and no relative step, unlike in
    ``torch.optim.Adafactor``. The momentum is a mean of updates without bias correction. Weight decay is decoupled, as
    in ``torch.optim.AdamW``.

    Args:
        max_decay: Upper bound on the decay of the mean squares.
    """

    whole_state = ("squares", "rows", "columns")  # what each rank has of the whole, if it has a part of the weights

    def __init__(self, params: ParamsT, lr: float, momentum: float, max_decay: float):
        defaults = {"lr": lr, "momentum": momentum, "max_decay": max_decay, "weight_decay": 0.0}
        super().__init__(params, defaults)

    @staticmethod
    def count_bytes(optimizer: torch.optim.Optimizer) -> int:
        """Return the bytes of the state after the first step."""
        shaped = [
            (parameter, shape or parameter.shape)
            for group in optimizer.param_groups
            for parameter, shape in zip(group["params"], group["shapes"])
        ]
        return sum(2 * parameter.numel() + 4 * count_squares(shape) for parameter, shape in shaped)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update each parameter that has a gradient."""
        for group in self.param_groups:
            shapes = group.get("shapes") or [None] * len(group["params"])
            for parameter, shape in zip(group["params"], shapes):
                if parameter.grad is not None:
                    self.update(parameter, parameter.grad, shape or parameter.shape, group)

    def update(self, parameter: Tensor, gradient: Tensor, shape: Iterable[int], group: dict[str, Any]) -> None:
        """Update one parameter, whose mean squares are factored as those of a tensor of ``shape``."""
        state, gradient = self.state[parameter], shards.gather(gradient)
        if not state:
            state["step"] = torch.zeros((), device="cpu")
            state["momentum"] = torch.zeros_like(parameter, dtype=torch.bfloat16)
        state["step"] += 1
        decay = min(group["max_decay"], 1 - float(state["step"]) ** -DECAY_EXPONENT)
        scaled = scale_by_squares(gradient.reshape(*shape), state, decay).view_as(gradient)
        beta, momentum = group["momentum"], shards.local_part(state["momentum"])
        # In JAX a Python float times a bfloat16 array is rounded to bfloat16, and so is the float: 0.9 is 0.8984375.
        decayed = momentum * torch.tensor(beta, dtype=torch.bfloat16, device=momentum.device)
        update = decayed.float() + (1 - beta) * shards.take_part(scaled, like=parameter)
        momentum.copy_(update)
        weights, lr = shards.local_part(parameter), group["lr"]
        rounded = torch.tensor(lr, dtype=torch.float32).item()  # infinite if it is too large, where torch raises
        weights.mul_(1 - lr * group["weight_decay"]).add_(update, alpha=-rounded)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; the momentum remains in bfloat16, which torch would cast to the type of the weights."""
        super().load_state_dict(state_dict)
        for entry in self.state.values():
            entry["momentum"] = entry["momentum"].to(torch.bfloat16)


def scale_by_squares(gradient: Tensor, state: dict[str, Tensor], decay: float) -> Tensor:
    """Return the gradient divided by the root of its mean square, which is updated in ``state``."""
    squares = gradient.square() + EPSILON
    axes = choose_axes(gradient.shape)
    if axes is None:
        return gradient * update_mean(state, "squares", squares, decay).rsqrt()
    smaller, larger = axes
    rows = update_mean(state, "rows", squares.mean(larger, keepdim=True), decay)
    columns = update_mean(state, "columns", squares.mean(smaller, keepdim=True), decay)
    return gradient * (rows / rows.mean(smaller, keepdim=True)).rsqrt() * columns.rsqrt()


def choose_axes(shape: Iterable[int]) -> tuple[int, int] | None:
    """Return the second largest and the largest axis, over which squares are factored; None if they are too small."""
    sizes = list(shape)
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    return (order[-2], order[-1]) if len(sizes) > 1 and sizes[order[-2]] >= FACTORED_SIZE else None


def count_squares(shape: Iterable[int]) -> int:
    """Return how many mean squares are stored of a weight."""
    sizes = list(shape)
    axes = choose_axes(sizes)
    return prod(sizes) if axes is None else sum(prod(sizes) // sizes[axis] for axis in axes)


def update_mean(state: dict[str, Tensor], name: str, value: Tensor, decay: float) -> Tensor:
    """Return a running mean, which is stored in ``state`` under ``name``."""
    if name not in state:
        state[name] = torch.zeros_like(value)
    return state[name].mul_(decay).add_(value, alpha=1 - decay)


def find_head_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes [.., heads, D/heads, D] of the weights of attention, by name.

    In the published code queries, keys, values and output are an array each with an axis for the heads, so that each
    head has mean squares of its own (flax, ``MultiHeadDotProductAttention``).
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, module in network.named_modules():
        if isinstance(module, Attention | AttentionPool):
            for part, layer in module.named_children():
                if part in ("qkv", "q", "kv", "proj") and isinstance(layer, nn.Linear):
                    width, heads = layer.in_features, module.heads
                    split = (heads, width // heads)
                    parts = layer.out_features // width
                    shapes[f"{name}.{part}.weight"] = (width, *split) if part == "proj" else (parts, *split, width)
    return shapes
