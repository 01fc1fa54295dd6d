"""Activations that a forward pass stores for the backward pass, counted without memory or computation."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vitrun.data import Batch
from vitrun.engine.interfaces import Objective
from vitrun.models import Network, list_blocks
from vitrun.models.attention import fused_attention
from vitrun.models.noise import SkippedBlock
from vitrun.models.window_attention import WindowAttention

OUTSIDE = -1  # the place of what is stored outside of blocks


@dataclass(frozen=True)
class Activations:
    """Bytes that are stored: ``weights`` for any number of images, the others for each image."""

    weights: int  # copies in bf16, one for all images
    all: int  # of an image
    outside: int  # of an image, by layers that are not blocks
    inputs: int  # of an image, of all blocks: what checkpointing stores of them
    block: int  # of an image, by the largest block
    part: int  # of an image, by the largest block or other part, whose gradients are computed at once

    def count(self, images: int, checkpointed: bool) -> int:
        """Return the bytes of that many images at once, without the weights."""
        return images * (self.outside + self.inputs + self.block if checkpointed else self.all)


@dataclass
class Store:
    """Storages that a forward pass has kept, by the part of the network that did: a block from 0, others below it."""

    parameters: set[int]
    place: int = OUTSIDE
    sizes: dict[int, dict[int, int]] = field(default_factory=dict)  # by place: bytes by storage
    inputs: dict[int, int] = field(default_factory=dict)  # bytes by storage
    alive: list[Tensor] = field(default_factory=list)  # so that no other storage gets the same number

    def pack(self, tensor: Tensor) -> Tensor:
        """Count a tensor that autograd stores."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.parameters:
            self.sizes.setdefault(self.place, {})[storage._cdata] = storage.nbytes()
            self.alive.append(tensor)
        return tensor

    def total(self, places: Iterable[int]) -> int:
        """Return the bytes of some places."""
        sizes = [self.sizes.get(place, {}) for place in places]
        return sum({number: size for one in sizes for number, size in one.items()}.values())

    @property
    def all(self) -> int:
        """Return the bytes of all places."""
        return self.total(self.sizes)

    @property
    def outside(self) -> int:
        """Return the bytes of all places that are no blocks."""
        return self.total(place for place in self.sizes if place < 0)


def make_blank_batch(objective: Objective, res: int, size: int) -> Batch:
    """Return a batch of blank images, as the objective trains on it."""
    images = torch.zeros(size, 3, res, res)
    return objective.prepare(Batch(images, torch.zeros(size, dtype=torch.long), np.arange(size)), 0)


def count_activations(
    network: Network, objective: Objective, res: int, dtype: torch.dtype, fused: bool, compiled: bool = False
) -> Activations:
    """Return what a network on the meta device stores, which is of no use afterwards.

    Args:
        dtype: That of matrix products.
        fused: Whether attention is fused, as on a GPU.
        compiled: Whether compiled functions compute attention in windows, as on a CPU.
    """
    batches = [make_blank_batch(objective, res, size) for size in (2, 4)]
    with FakeTensorMode(allow_non_fake_inputs=True), fused_attention(network, fused):  # tensors without numbers
        network = network.to_empty(device="cpu").train()
        for module in network.modules():
            if isinstance(module, WindowAttention):
                module.plans_compiled = compiled
        two, four = (run_forward(network, batch, dtype) for batch in batches)

    def grow(select: Callable[[Store], int]) -> int:
        return max(0, select(four) - select(two)) // 2

    parts = {place: grow(partial(Store.total, places=[place])) for place in four.sizes if place != OUTSIDE}
    return Activations(
        weights=max(0, 2 * two.all - four.all),
        all=grow(lambda store: store.all),
        outside=grow(lambda store: store.outside),
        inputs=grow(lambda store: sum(store.inputs.values())),
        block=max((size for place, size in parts.items() if place >= 0), default=0),
        part=max(parts.values(), default=0),
    )


def run_forward(network: Network, batch: Batch, dtype: torch.dtype) -> Store:
    """Return what a forward pass of a batch stores, without the loss, which is of a few numbers of an image."""
    store = Store({parameter.untyped_storage()._cdata for parameter in network.parameters()})
    inputs, _ = batch.micro_batch(slice(0, len(batch.indices)), torch.device("cpu"))
    autocast = torch.autocast("cpu", dtype, enabled=dtype != torch.float32)
    hooks = torch.autograd.graph.saved_tensors_hooks(store.pack, lambda tensor: tensor)
    with watch_parts(network, store), hooks, autocast:
        network(*inputs)
    return store


@contextmanager
def watch_parts(network: nn.Module, store: Store) -> Iterator[None]:
    """Let ``store`` know which block or other part computes, and what the input of a block is."""

    def enter(number: int) -> Callable[..., None]:
        def hook(part: nn.Module, arguments: tuple[Any, ...]) -> None:
            store.place = number
            if number >= 0:
                storage = arguments[0].untyped_storage()
                store.inputs[storage._cdata] = storage.nbytes()
                store.alive.append(arguments[0])

        return hook

    def leave(part: nn.Module, arguments: Any, output: Any) -> None:
        store.place = OUTSIDE

    blocks = list_blocks(network)
    others = list_others(network, set(blocks))
    hooks = []
    for number, part in [*enumerate(blocks), *((OUTSIDE - 1 - number, part) for number, part in enumerate(others))]:
        hooks += [part.register_forward_pre_hook(enter(number)), part.register_forward_hook(leave)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def list_others(network: nn.Module, blocks: set[nn.Module]) -> Iterator[nn.Module]:
    """Yield the parts that compute one after another beside the blocks, such as a stem, or the units of a ResNet."""
    for part in network.children():
        if is_divided(part, blocks):
            yield from list_others(part, blocks)
        elif part not in blocks:
            yield part


def is_divided(part: nn.Module, blocks: set[nn.Module]) -> bool:
    """Return whether a part has blocks, or lists of parts that have modules themselves."""
    if part in blocks or isinstance(part, SkippedBlock):
        return False
    modules = [*part.modules()]
    lists = [module for module in modules if isinstance(module, nn.ModuleList | nn.Sequential)]
    return not blocks.isdisjoint(modules) or any([*child.children()] for one in lists for child in one)
