"""Training loop for a GPU that does not wait for the device within a step.

The device itself decides whether the loss and the gradient of a step are finite, and changes nothing if they are not.
The loss and the norm of a step are read while the device computes the gradient of the next step, before the update of
that step. So whenever a step is reported, the state of training is that of the reported step, as in :mod:`~.loop`, and
what a caller does then (evaluate, save, stop) is exact.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from time import perf_counter

import torch
from torch import Tensor, nn

from vitrun.data import Batch
from vitrun.data.batch import list_names
from vitrun.engine.buffers import Buffers, copy_buffers, restore_buffers
from vitrun.engine.diagnosis import NonFiniteStep, describe_origin
from vitrun.engine.fit_options import FitOptions, Gradients, dropout_seed
from vitrun.engine.freezing import set_training_mode
from vitrun.engine.loop import Step, accumulate_in_memory
from vitrun.engine.optim import list_trained, set_lr, start_momentum, update_ema_if
from vitrun.engine.state import TrainState
from vitrun.errors import Interrupted
from vitrun.runtime import distributed
from vitrun.runtime.device import HostCopy, Machine


@dataclass(frozen=True)
class LaunchedStep:
    """Step that the device computes, whose loss and norm have not been read."""

    number: int  # steps done, this one included
    lr: float
    micro_batch: int
    data_seconds: float
    batch: Batch
    image_losses: list[Tensor]
    numbers: HostCopy  # loss, and norm of the gradient


def can_run_ahead(state: TrainState, machine: Machine) -> bool:
    """Return whether :func:`fit_ahead` can train: on a GPU, with an optimizer that can skip an update on the device.

    Several ranks wait for their device in each step, so that a rank that hangs is found where gradients are exchanged.
    """
    can_skip = getattr(state.optimizer, "_step_supports_amp_scaling", False)  # torch's mark, for its GradScaler
    return machine.device.type == "cuda" and distributed.world_size() == 1 and bool(can_skip)


def fit_ahead(state: TrainState, batches: Iterable[Batch], options: FitOptions) -> Iterator[Step]:
    """Train as :func:`~.loop.fit` on one rank, and yield the report of each step while the next one is computed.

    An error in a step is raised after the step before it is reported. If the caller stops at a report, the next step is
    not taken. ``step_seconds`` is the time between two reports.
    """
    parameters = list_trained(state.network)
    set_training_mode(state.network)
    start_momentum(state.optimizer)
    source, launched, reported_at = iter(batches), None, perf_counter()
    try:
        while True:
            buffers = copy_buffers(state.network)
            try:
                requested_at = perf_counter()
                batch = next(source, None)
                data_seconds = perf_counter() - requested_at
                computed = None
                if batch is not None:
                    computed = accumulate_in_memory(state, parameters, batch, options, buffers)
            except (Exception, Interrupted):
                restore_buffers(buffers)
                if launched is not None:
                    yield read_step(state, parameters, launched, options, reported_at)
                raise
            if launched is not None:
                with use_values(buffers):
                    yield read_step(state, parameters, launched, options, reported_at)
                reported_at = perf_counter()
            if batch is None or computed is None:
                return
            numbers = launch_update(state, parameters, computed.loss, buffers, options)
            lr = options.lr(state.step - 1)
            done = (state.step, lr, state.micro_batch, data_seconds)
            launched = LaunchedStep(*done, batch, computed.image_losses, numbers)
    finally:
        state.optimizer.zero_grad(set_to_none=True)


@contextmanager
def use_values(buffers: Buffers) -> Iterator[None]:
    """Set each buffer of a network to its copied values inside the context, and back afterwards.

    If the caller of :func:`fit_ahead` stops inside, the copied values stay: they are those of the reported step.
    """
    later = [(buffer, buffer.clone()) for buffer, _ in buffers]
    restore_buffers(buffers)
    yield
    restore_buffers(later)


@torch.no_grad()
def launch_update(
    state: TrainState, parameters: list[nn.Parameter], loss: Tensor, buffers: Buffers, options: FitOptions
) -> HostCopy:
    """Let the device update all state if the loss and the gradient are finite; return the loss and the norm."""
    set_lr(state.optimizer, options.lr(state.step))
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    finite = loss.isfinite() & norm.isfinite()
    if options.clip:
        nn.utils.clip_grads_with_norm_(parameters, options.clip, norm)
    optimizer = state.optimizer
    optimizer.grad_scale, optimizer.found_inf = None, (~finite).float()  # type: ignore[attr-defined]  # of GradScaler
    optimizer.step()
    del optimizer.grad_scale, optimizer.found_inf  # type: ignore[attr-defined]
    if state.ema is not None and options.ema_decay is not None:
        update_ema_if(finite, state.ema, state.network, options.ema_decay)
    for buffer, before in buffers:
        buffer.copy_(torch.where(finite, buffer, before))
    optimizer.zero_grad(set_to_none=True)
    state.step += 1
    return HostCopy(torch.stack([loss, norm]))


def read_step(
    state: TrainState, parameters: list[nn.Parameter], launched: LaunchedStep, options: FitOptions, reported_at: float
) -> Step:
    """Return the report of the launched step; add it to the losses, or to the skipped steps if it is not finite."""
    loss, norm = launched.numbers.read()
    batch = launched.batch
    if isfinite(loss) and isfinite(norm):
        state.losses.append(loss)
    else:
        options.on_non_finite(diagnose(state, parameters, launched, options))
        state.skipped.append(launched.number)
    names = partial(list_names, batch.keys, batch.indices)  # without the images, so that their memory is freed
    seconds = (launched.data_seconds, perf_counter() - reported_at)
    return Step(launched.number, loss, norm, launched.lr, *seconds, names, launched.image_losses, launched.micro_batch)


def diagnose(
    state: TrainState, parameters: list[nn.Parameter], launched: LaunchedStep, options: FitOptions
) -> NonFiniteStep:
    """Return the description of a step that is not finite; its gradient is computed again for that.

    Its update was skipped, so the weights are still those of the step.
    """
    gradients = [parameter.grad for parameter in parameters]  # of the step after it
    buffers = copy_buffers(state.network)
    at_step = replace(state, step=launched.number - 1, micro_batch=launched.micro_batch)
    again: Gradients = accumulate_in_memory(
        at_step, parameters, launched.batch, replace(options, tick=lambda _: None), buffers
    )
    seed = dropout_seed(options.seed, at_step.step)
    origin = describe_origin(at_step, launched.batch, again.image_losses, options.machine, seed)
    restore_buffers(buffers)
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = gradient
    loss, norm = launched.numbers.read()
    return NonFiniteStep(launched.number, loss, norm, launched.lr, *origin)
