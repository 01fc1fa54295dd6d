"""Memory of training on a device, by part: what is there all the time, and what a micro-batch adds to it."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import torch

from vitrun.engine.activations import Activations
from vitrun.engine.optim import count_moments, list_trained
from vitrun.models import Network, list_blocks
from vitrun.recipes.optimizer import Optim

FLOAT = 4  # bytes of a weight, its gradient and its average
RESERVED = 1.5e9  # bytes that a GPU's context, its libraries and the collectives take
SPARE = 1.05  # times what is planned: fragments, temporary tensors


@dataclass(frozen=True)
class StateSize:
    """Size of what training changes: numbers of weights, and bytes of the optimizer's state."""

    weights: int
    trained: int
    largest_block: int  # weights of the block that has most
    outside: int  # weights outside of blocks
    moments: int  # bytes
    has_ema: bool

    @classmethod
    def measure(cls, network: Network, options: Optim, has_ema: bool) -> "StateSize":
        """Return the size for a network, on whatever device; the meta device needs no memory."""
        weights = sum(parameter.numel() for parameter in network.parameters())
        trained = sum(parameter.numel() for parameter in list_trained(network))
        blocks = [sum(parameter.numel() for parameter in block.parameters()) for block in list_blocks(network)]
        moments = count_moments(options, network)
        return cls(weights, trained, max(blocks, default=0), weights - sum(blocks), moments, has_ema)


@dataclass(frozen=True)
class Setting:
    """How a run is laid out on its devices."""

    sharded: bool  # each device has a part of weights, gradients, optimizer and EMA (FSDP), or all of them
    checkpointed: bool

    def __str__(self) -> str:
        return f"{'sharded' if self.sharded else 'replicated'}, checkpointing={self.checkpointing}"

    @property
    def checkpointing(self) -> str:
        """Return the value of that option."""
        return "blocks" if self.checkpointed else "none"


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on each device at the moment of a step that needs most."""

    setting: Setting
    micro_batch: int
    weights: float
    gradients: float  # sums over micro-batches, and those of the last one
    optimizer: float
    ema: float
    copies: float  # weights in the type of the matrix products, and those gathered from other devices
    activations: float  # of a micro-batch

    @property
    def total(self) -> float:
        """Return the sum of all parts."""
        return self.weights + self.gradients + self.optimizer + self.ema + self.copies + self.activations

    def fits(self, memory: float, reserved: float = RESERVED) -> bool:
        """Return whether a device with that many bytes of ``memory`` suffices."""
        return self.total * SPARE + reserved <= memory


@dataclass(frozen=True)
class Hardware:
    """Hardware that computes a step: devices, the data type of matrix products, and workers that share a device."""

    devices: int
    dtype: torch.dtype
    workers: int = 1  # each has gradients of its own, on a CPU

    def plan(self, size: StateSize, stored: Activations, setting: Setting, micro_batch: int) -> MemoryPlan:
        """Return the memory of a step with that many images at once.

        Gradients are counted twice, as sums and of the last micro-batch, and so are the activations of one block or
        other part, whose gradients the backward pass computes.
        """
        parts = self.devices if setting.sharded else 1
        gradients = FLOAT * size.trained / parts
        copies = self.workers * stored.weights
        if setting.sharded:  # two blocks are gathered, one has its whole gradient, what is outside of blocks remains
            item = torch.finfo(self.dtype).bits // 8
            copies = 2 * item * size.largest_block + FLOAT * size.largest_block + item * size.outside
        activations = stored.count(micro_batch, setting.checkpointed) + micro_batch * stored.part
        return MemoryPlan(
            setting,
            micro_batch,
            weights=FLOAT * size.weights / parts,
            gradients=2 * self.workers * gradients,
            optimizer=size.moments / parts,
            ema=FLOAT * size.weights / parts if size.has_ema else 0,
            copies=copies,
            activations=self.workers * activations,
        )

    def list_settings(self) -> Iterator[Setting]:
        """Yield all settings, the fastest first."""
        for sharded in (False, True) if self.devices > 1 else (False,):
            for checkpointed in (False, True):
                yield Setting(sharded, checkpointed)

    def choose(self, size: StateSize, stored: Activations, setting: Setting, batch: int, memory: float) -> MemoryPlan:
        """Return the plan with the largest micro-batch that fits, of the share of ``batch`` halved and halved again.

        If none fits, that of one image at a time.
        """
        micro = ceil(batch / self.devices)
        while micro > 1 and not self.plan(size, stored, setting, micro).fits(memory):
            micro = ceil(micro / 2)
        return self.plan(size, stored, setting, micro)
