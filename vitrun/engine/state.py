"""State of training, and contexts that choose which of its weights the network has."""

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
    skipped: list[int] = field(default_factory=list)  # steps without an update, as loss or gradient was not finite
    # of the last steps that were not skipped
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_LOSSES))
    evaluations: EvaluationRecord = EvaluationRecord()  # during training
    best: dict[str, Tensor] | None = None  # the weights of the best evaluation, if they are kept, in main memory
    workers: int | None = None  # that compute micro-batches in parallel; None: as many as the machine allows
    fused: bool | None = None  # whether attention is torch's fused function; None: the network's default
    parallel: Replica | ShardedNetwork | None = None  # torch's wrapper for several ranks (DDP or FSDP2), if any
    compiled: Callable[..., Any] | None = None  # forward pass of training, if torch.compile is used

    @property
    def forward(self) -> Callable[..., Any]:
        """Return the forward pass of training."""
        return self.network if self.compiled is None else self.compiled

    @property
    def is_divided(self) -> bool:
        """Return whether the weights are divided over ranks, which have to gather and save them together."""
        return isinstance(self.parallel, ShardedNetwork)


@contextmanager
def use_ema(state: TrainState) -> Iterator[models.Network]:
    """Yield the network, with the EMA as its weights inside the context if there is one.

    If the network is divided over ranks, yield a copy with whole weights.
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
    """Swap the weights and the EMA, if there is one."""
    if state.ema is not None:
        for parameter, average in zip(state.network.parameters(), state.ema):
            parameter.data, average.data = average.data, parameter.data


@contextmanager
def use_weights(state: TrainState) -> Iterator[models.Network]:
    """Yield the network with its own weights; otherwise as :func:`use_ema`."""
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
    """Return a copy, in main memory, of the tensors of a network."""
    return {name: tensor.to("cpu", copy=True) for name, tensor in network.state_dict().items()}


def count_bytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of some tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
