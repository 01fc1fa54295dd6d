"""State of training, and which of its weights are used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from vitrun import models
from vitrun.engine.evaluation_record import EvaluationRecord
from vitrun.runtime.fsdp import ShardedNetwork
from vitrun.runtime.replicas import Replica

RECENT_LOSSES = 50  # losses of the last steps, by which a spike is seen


@dataclass
class TrainState:
    """Everything that training changes, and that a checkpoint therefore stores."""

    network: models.Network
    optimizer: torch.optim.Optimizer
    ema: list[Tensor] | None  # exponential moving average of the weights, in the order of ``network.parameters()``
    step: int  # steps done
    micro_batch: int  # images computed at once
    skipped: list[int] = field(default_factory=list)  # steps without an update: their loss or gradient was not finite
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_LOSSES))  # of the last other steps
    evaluations: EvaluationRecord = EvaluationRecord()  # on the way
    best: dict[str, Tensor] | None = None  # in main memory: the weights of the best evaluation, if they are kept
    workers: int | None = None  # that compute micro-batches side by side; None: as many as the machine allows
    fused: bool | None = None  # whether attention is torch's fused function; None: as the network has it
    parallel: Replica | ShardedNetwork | None = None  # how ranks share the network, if torch does that for them
    compiled: Callable[..., Any] | None = None  # forward pass of training, over all ranks, if torch.compile makes it

    @property
    def forward(self) -> Callable[..., Any]:
        """Return the forward pass of training."""
        return self.network if self.compiled is None else self.compiled

    @property
    def is_divided(self) -> bool:
        """Return whether ranks have parts of the weights, which all of them have to gather or to save together."""
        return isinstance(self.parallel, ShardedNetwork)


@contextmanager
def use_ema(state: TrainState) -> Iterator[models.Network]:
    """Yield the network with the averaged weights inside the context, or with its own if there is no average.

    Of a network that is divided over ranks it is a copy with whole weights.
    """
    if isinstance(state.parallel, ShardedNetwork):
        with state.parallel.gathered(state.ema or [*state.network.parameters()]) as network:
            yield cast(models.Network, network)
        return
    swap_ema(state)
    try:
        yield state.network
    finally:
        swap_ema(state)


def swap_ema(state: TrainState) -> None:
    """Exchange the weights and their average, if there is one."""
    if state.ema is not None:
        for parameter, average in zip(state.network.parameters(), state.ema):
            parameter.data, average.data = average.data, parameter.data


@contextmanager
def use_weights(state: TrainState) -> Iterator[models.Network]:
    """Yield the network with its own weights, as :func:`use_ema`."""
    with use_ema(replace(state, ema=None)) as network:
        yield network


@contextmanager
def use_best(state: TrainState) -> Iterator[models.Network]:
    """Yield the network with the weights of the best evaluation, or as :func:`use_ema` if none are kept."""
    if state.best is None:
        with use_ema(state) as network:
            yield network
        return
    with use_weights(state) as network:
        current = copy_weights(network)
        network.load_state_dict(state.best)
        try:
            yield network
        finally:
            network.load_state_dict(current)


def copy_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the tensors of a network in main memory."""
    return {name: tensor.to("cpu", copy=True) for name, tensor in network.state_dict().items()}


def count_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of some tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
