"""Training loop for a GPU in which nothing waits for it: the computer is a step ahead of what it reads of the device.

Whether the loss and the gradient of a step are finite is decided on the device, which leaves everything as it was if
they are not. The numbers of a step are read while the device computes the gradient of the next one, before the update
of that. So the state of training is that of the reported step whenever one is reported, as in :mod:`~.loop`, and what
a caller does then (evaluate, save, stop) is exact.
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
from vitrun.data.loader import list_names
from vitrun.engine.diagnosis import NonFiniteStep, describe_origin
from vitrun.engine.fit_options import FitOptions, Gradients, dropout_seed
from vitrun.engine.freezing import set_training_mode
from vitrun.engine.loop import Step, accumulate_in_memory, restore
from vitrun.engine.optim import list_trained, set_lr, start_momentum, update_ema_if
from vitrun.engine.state import TrainState
from vitrun.errors import Interrupted
from vitrun.runtime import distributed
from vitrun.runtime.device import HostCopy, Machine

Buffers = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Launched:
    """Step that the device was given to compute, and whose numbers have not been read."""

    number: int  # steps done, this one included
    lr: float
    micro_batch: int
    data_seconds: float
    batch: Batch
    image_losses: list[Tensor]
    numbers: HostCopy  # loss, and norm of the gradient


def can_run_ahead(state: TrainState, machine: Machine) -> bool:
    """Return whether :func:`fit_ahead` can train: on a GPU, with an optimizer that leaves out an update by itself.

    Several ranks wait for their device in each step: where they exchange gradients, a rank that hangs is found.
    """
    leaves_out = getattr(state.optimizer, "_step_supports_amp_scaling", False)  # torch's mark, for its GradScaler
    return machine.device.type == "cuda" and distributed.world_size() == 1 and bool(leaves_out)


def fit_ahead(state: TrainState, batches: Iterable[Batch], options: FitOptions) -> Iterator[Step]:
    """Train as :func:`~.loop.fit` on one rank, and yield the report of each step during the next one.

    An error is raised after the report of the step before it. If the caller stops at a report, the next step is not
    taken. ``step_seconds`` are those between two reports.
    """
    parameters = list_trained(state.network)
    set_training_mode(state.network)
    start_momentum(state.optimizer)
    source, launched, reported = iter(batches), None, perf_counter()
    try:
        while True:
            buffers = [(buffer, buffer.clone()) for buffer in state.network.buffers()]  # the statistics of batch norm
            try:
                requested = perf_counter()
                batch = next(source, None)
                waited = perf_counter() - requested
                computed = None
                if batch is not None:
                    computed = accumulate_in_memory(state, parameters, batch, options, buffers)
            except (Exception, Interrupted):
                restore(buffers)
                if launched is not None:
                    yield read_step(state, parameters, launched, options, reported)
                raise
            if launched is not None:
                with use_values(buffers):
                    yield read_step(state, parameters, launched, options, reported)
                reported = perf_counter()
            if batch is None or computed is None:
                return
            numbers = launch_update(state, parameters, computed.loss, buffers, options)
            lr = options.lr(state.step - 1)
            launched = Launched(state.step, lr, state.micro_batch, waited, batch, computed.image_losses, numbers)
    finally:
        state.optimizer.zero_grad(set_to_none=True)


@contextmanager
def use_values(buffers: Buffers) -> Iterator[None]:
    """Give each buffer of a network its value inside the context, and afterwards the one that it had."""
    later = [(buffer, buffer.clone()) for buffer, _ in buffers]
    restore(buffers)
    yield
    restore(later)


@torch.no_grad()
def launch_update(
    state: TrainState, parameters: list[nn.Parameter], loss: Tensor, buffers: Buffers, options: FitOptions
) -> HostCopy:
    """Let the device update everything, if loss and gradient are finite; return the loss and the gradient's norm."""
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
    state: TrainState, parameters: list[nn.Parameter], launched: Launched, options: FitOptions, since: float
) -> Step:
    """Return the report of the step that was launched last; count it, among the skipped if it was not finite."""
    loss, norm = launched.numbers.read()
    batch = launched.batch
    if isfinite(loss) and isfinite(norm):
        state.losses.append(loss)
    else:
        options.on_non_finite(diagnose(state, parameters, launched, options, (loss, norm)))
        state.skipped.append(launched.number)
    names = partial(list_names, batch.keys, batch.indices)  # without the images, so that their memory is freed
    seconds = (launched.data_seconds, perf_counter() - since)
    return Step(launched.number, loss, norm, launched.lr, *seconds, names, launched.image_losses, launched.micro_batch)


def diagnose(
    state: TrainState,
    parameters: list[nn.Parameter],
    launched: Launched,
    options: FitOptions,
    numbers: tuple[float, float],
) -> NonFiniteStep:
    """Return what is known of a step that was not finite, whose gradient is computed again for that.

    Its update was left out, so the weights are still those that it was computed with.
    """
    gradients = [parameter.grad for parameter in parameters]  # of the step after it
    buffers = [(buffer, buffer.clone()) for buffer in state.network.buffers()]
    at_step = replace(state, step=launched.number - 1, micro_batch=launched.micro_batch)
    again: Gradients = accumulate_in_memory(
        at_step, parameters, launched.batch, replace(options, tick=lambda _: None), buffers
    )
    seed = dropout_seed(options.seed, at_step.step)
    origin = describe_origin(at_step, launched.batch, again.image_losses, options.machine, seed)
    restore(buffers)
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = gradient
    loss, norm = numbers
    return NonFiniteStep(launched.number, loss, norm, launched.lr, *origin)
