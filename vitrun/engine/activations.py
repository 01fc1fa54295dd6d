"""Activations that a forward pass stores for the backward pass, counted without memory or computation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vitrun.data import Batch
from vitrun.engine.interfaces import Objective
from vitrun.models import Network, list_blocks
from vitrun.models.attention import fused_attention

OUTSIDE = -1  # the place of what is stored outside of blocks


@dataclass(frozen=True)
class Activations:
    """Bytes that are stored: ``weights`` for any number of images, the others for each image."""

    weights: int  # copies in bf16, one for all images
    all: int  # of an image
    outside: int  # of an image, by layers that are not blocks
    inputs: int  # of an image, of all blocks: what checkpointing stores of them
    block: int  # of an image, by the largest block

    def count(self, images: int, checkpointed: bool) -> int:
        """Return the bytes of that many images at once, without the weights."""
        return images * (self.outside + self.inputs + self.block if checkpointed else self.all)


@dataclass
class Store:
    """Storages that a forward pass has kept, by the block that did."""

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

    def total(self, place: int | None = None) -> int:
        """Return the bytes of one place, or of all."""
        places = self.sizes.values() if place is None else [self.sizes.get(place, {})]
        return sum({number: size for sizes in places for number, size in sizes.items()}.values())

    @property
    def largest_block(self) -> int:
        """Return the bytes of the block that stores most."""
        return max((self.total(place) for place in self.sizes if place != OUTSIDE), default=0)


def make_blank_batch(objective: Objective, res: int, size: int) -> Batch:
    """Return a batch of blank images, as the objective trains on it."""
    images = torch.zeros(size, 3, res, res)
    return objective.prepare(Batch(images, torch.zeros(size, dtype=torch.long), np.arange(size)), 0)


def count_activations(network: Network, objective: Objective, res: int, dtype: torch.dtype, fused: bool) -> Activations:
    """Return what a network on the meta device stores, which is of no use afterwards.

    Args:
        dtype: That of matrix products.
        fused: Whether attention is fused, as on a GPU.
    """
    batches = [make_blank_batch(objective, res, size) for size in (2, 4)]
    with FakeTensorMode(allow_non_fake_inputs=True), fused_attention(network, fused):  # tensors without numbers
        network = network.to_empty(device="cpu").train()
        two, four = (run_forward(network, batch, dtype) for batch in batches)

    def grow(select: Callable[[Store], int]) -> int:
        return max(0, select(four) - select(two)) // 2

    return Activations(
        weights=max(0, 2 * two.total() - four.total()),
        all=grow(Store.total),
        outside=grow(lambda store: store.total(OUTSIDE)),
        inputs=grow(lambda store: sum(store.inputs.values())),
        block=grow(lambda store: store.largest_block),
    )


def run_forward(network: Network, batch: Batch, dtype: torch.dtype) -> Store:
    """Return what a forward pass of a batch stores, without the loss, which is of a few numbers of an image."""
    store = Store({parameter.untyped_storage()._cdata for parameter in network.parameters()})
    inputs, _ = batch.micro_batch(slice(0, len(batch.indices)), torch.device("cpu"))
    autocast = torch.autocast("cpu", dtype, enabled=dtype != torch.float32)
    hooks = torch.autograd.graph.saved_tensors_hooks(store.pack, lambda tensor: tensor)
    with watch_blocks(network, store), hooks, autocast:
        network(*inputs)
    return store


@contextmanager
def watch_blocks(network: nn.Module, store: Store) -> Iterator[None]:
    """Let ``store`` know which block computes, and what its input is."""

    def enter(number: int) -> Callable[..., None]:
        def hook(block: nn.Module, arguments: tuple[Any, ...]) -> None:
            store.place = number
            storage = arguments[0].untyped_storage()
            store.inputs[storage._cdata] = storage.nbytes()
            store.alive.append(arguments[0])

        return hook

    def leave(block: nn.Module, arguments: Any, output: Any) -> None:
        store.place = OUTSIDE

    hooks = []
    for number, block in enumerate(list_blocks(network)):
        hooks += [block.register_forward_pre_hook(enter(number)), block.register_forward_hook(leave)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
