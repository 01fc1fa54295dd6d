"""Training of a small network by several ranks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from helpers.training import CPU, build_small_vit, make_state, random_batch
from vitrun import data, models
from vitrun.data.sampler import rank_range
from vitrun.engine import compiling, sharded_state
from vitrun.engine.fit_options import FitOptions
from vitrun.engine.loop import fit
from vitrun.engine.state import TrainState, use_ema, use_weights
from vitrun.errors import UserError
from vitrun.objectives.labels import LOSSES
from vitrun.runtime import distributed, heartbeat
from vitrun.runtime.fsdp import ShardedNetwork
from vitrun.runtime.replicas import Replica
from vitrun.runtime.sharded_files import stage_parts

IMAGES = 12  # of a step


def train_replicas(attempts: Sequence[int]) -> tuple[list[float], list[Any]]:
    """Train a network by so many steps in each attempt, which continues the one before; return losses and weights."""
    network = build_small_vit()
    state, losses = make_state(network, micro=2, kind="sgd"), []
    for steps in attempts:
        if distributed.world_size() > 1:
            state.parallel = Replica(network, CPU.device)
        losses += train(state, steps)
    return losses, [p.detach().numpy() for p in network.parameters()]


def train_parts(kind: str, size: int, first: int, then: int, folder: Path) -> tuple[list[float], list[list[Any]]]:
    """Train a network that is divided over ``size`` ranks each, save it after ``first`` steps, and go on with another.

    Return the losses, and the weights and their average at the end.
    """
    state, losses = make_divided(kind, size), []
    if first:
        losses = train(state, first)
        save(state, folder)
        state = make_divided(kind, size)
        restore(state, folder, first)
    losses += train(state, then)
    return losses, list_whole(state)


def train_compiled(backend: str = "eager", dropout: float = 0.3) -> list[tuple[list[float], list[float], int]]:
    """Train networks that ranks share, copied and divided, without torch.compile and with it.

    They are also used without it between two steps. Return the losses of both, and the number of compiled graphs.
    """
    compiling.BACKEND, results = backend, []
    for mode in ("ddp", "fsdp"):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        losses = [train_shared(mode, is_compiled, dropout) for is_compiled in (False, True)]
        results.append((*losses, torch._dynamo.utils.counters["stats"]["unique_graphs"]))
    return results


def train_shared(mode: str, is_compiled: bool, dropout: float) -> list[float]:
    """Train a network that ranks share; return the losses."""
    network = build_small_vit(dropout=dropout, stochastic_depth=dropout)
    if mode == "ddp":
        parallel = Replica(network, CPU.device)
    else:
        parallel = ShardedNetwork(network, models.list_blocks(network), CPU.device, CPU.dtype, 2)
    state = make_state(network, micro=4)
    state.parallel = parallel
    state.compiled = compiling.CompiledBlocks(parallel, network) if is_compiled else None
    losses = train(state, 1)
    with use_weights(state) as whole:
        whole.eval()(torch.zeros(1, 3, 32, 32))
    return losses + train(state, 1)


def fail_in_backward(mode: str) -> tuple[str, Sequence[int] | None]:
    """Train a network whose second rank fails in a backward pass; return the error of this rank, and who prints it."""
    heartbeat.set_rank_timeout(2)
    network = build_small_vit()
    parallel = Replica(network, CPU.device) if mode == "ddp" else ShardedNetwork(network, [], CPU.device, CPU.dtype, 2)
    state = make_state(network)
    state.parallel = parallel

    def fail(*_: object) -> None:
        raise MemoryError("out of memory") if mode == "ddp" else KeyError("a mistake in a layer")

    if distributed.rank():
        network.norm.register_full_backward_pre_hook(fail)
    try:
        train(state, 1)
    except UserError as error:
        return str(error), error.reported_by
    return "", None


def make_divided(kind: str, size: int) -> TrainState:
    """Return the state of a network whose parts ``size`` ranks have; of one rank it is whole."""
    network = build_small_vit()
    parallel = None
    if distributed.world_size() > 1:
        parallel = ShardedNetwork(network, models.list_blocks(network), CPU.device, CPU.dtype, size)
    state = make_state(network, micro=2, kind=kind)
    state.parallel = parallel
    state.ema = [p.detach().clone() for p in network.parameters()]
    return state


def train(state: TrainState, steps: int) -> list[float]:
    """Return the losses of some steps on this rank's parts of batches."""
    batches = [share_batch(step) for step in range(state.step, state.step + steps)]
    options = FitOptions(LOSSES["softmax"], IMAGES, lambda _: 0.01, 1.0, 0.5, 0, CPU, lambda _: None)
    return [step.loss for step in fit(state, batches, options)]


def save(state: TrainState, folder: Path) -> None:
    """Save a state that is divided, after a try where no file can be."""
    tensors = sharded_state.list_tensors(state.network, state.ema, state.optimizer)
    (folder / "file").touch()
    assert "rank " in str(stage_parts(folder / "file" / "parts", tensors).problem)
    parts = stage_parts(folder / "parts", tensors)
    if not distributed.rank():
        parts.take(folder)
        parts.remove()
    distributed.barrier()


def restore(state: TrainState, folder: Path, step: int) -> None:
    """Read a state that any number of ranks has saved."""
    sharded_state.restore_weights(state.network, state.ema, folder)
    sharded_state.restore_moments(state.optimizer, folder)
    state.step = step


def list_whole(state: TrainState) -> list[list[Any]]:
    """Return the whole weights of a state, and their average."""
    parts = []
    for use in (use_weights, use_ema):
        with use(state) as network:
            assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
            parts.append([p.detach().numpy().copy() for p in network.parameters()])
    return parts


def share_batch(step: int) -> data.Batch:
    """Return this rank's part of the batch of a step."""
    batch = random_batch(IMAGES, seed=step)
    rows = slice(*rank_range(IMAGES, distributed.rank(), distributed.world_size()))
    return data.Batch(batch.images[rows], batch.labels[rows], batch.indices[rows], offset=rows.start)
