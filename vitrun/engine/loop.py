"""The training loop: gradients of micro-batches, summed over ranks, and one update per step."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import isfinite
from time import perf_counter

import torch
from torch import Tensor, nn

from vitrun import models
from vitrun.data import Batch
from vitrun.data.batch import list_names
from vitrun.engine.buffers import Buffers, copy_buffers, restore_buffers
from vitrun.engine.diagnosis import NonFiniteStep, describe_origin
from vitrun.engine.fit_options import FitOptions, Gradients, dropout_seed
from vitrun.engine.freezing import set_training_mode
from vitrun.engine.optim import list_trained, set_lr, update_ema
from vitrun.engine.rank_gradients import accumulate_over_ranks
from vitrun.engine.state import TrainState
from vitrun.errors import Interrupted, OutOfMemory, describe_allocation, is_out_of_memory
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine
from vitrun.runtime.fsdp import find_total_norm


@dataclass(frozen=True)
class Step:
    """Report of one step. If its update was skipped, ``loss`` or ``norm`` is not finite."""

    number: int  # steps done, including this one
    loss: float
    norm: float  # of the gradient, before clipping
    lr: float
    data_seconds: float  # spent waiting for the batch
    step_seconds: float  # in all
    names: Callable[[], list[str]]  # of the images on this rank
    image_losses: list[Tensor]  # of these images, on the device
    micro_batch: int  # images that were computed at once

    @property
    def is_skipped(self) -> bool:
        """Return whether the update was skipped."""
        return not (isfinite(self.loss) and isfinite(self.norm))


def fit(state: TrainState, batches: Iterable[Batch], options: FitOptions) -> Iterator[Step]:
    """Train on ``batches``, one step each, and yield a report of every step.

    With several ranks, each rank passes its share of a batch. If ``options.tick`` raises, the step is not taken and
    ``state`` stays as it was. If the loss or the gradient is not finite, ``options.on_non_finite`` either raises, or
    the step only counts as skipped and changes nothing else. Raise OutOfMemory if the micro-batch cannot be halved.
    """
    parameters = list_trained(state.network)
    set_training_mode(state.network)
    requested = perf_counter()
    for batch in batches:
        received = perf_counter()
        lr = options.lr(state.step)
        set_lr(state.optimizer, lr)
        buffers = copy_buffers(state.network)
        computed = accumulate_in_memory(state, parameters, batch, options, buffers)
        loss = sum(distributed.all_gather_object(float(computed.loss)))
        gradients = [p.grad for p in parameters if p.grad is not None]
        if state.parallel is None:
            distributed.all_reduce(gradients)
        total_norm = find_total_norm(gradients)
        norm = float(total_norm)
        if isfinite(loss) and isfinite(norm):
            if options.clip:
                nn.utils.clip_grads_with_norm_(parameters, options.clip, total_norm)
            update(state, options.ema_decay, loss)
        else:
            restore_buffers(buffers)
            seed = dropout_seed(options.seed, state.step)
            origin = describe_origin(state, batch, computed.image_losses, options.machine, seed)
            options.on_non_finite(NonFiniteStep(state.step + 1, loss, norm, lr, *origin))
            restore_buffers(buffers)
            state.skipped.append(state.step + 1)
        state.optimizer.zero_grad(set_to_none=True)
        del gradients  # else they would stay in memory during the next step
        state.step += 1
        names = partial(list_names, batch.keys, batch.indices)  # without the images, so that their memory is freed
        seconds = (received - requested, perf_counter() - requested)
        yield Step(state.step, loss, norm, lr, *seconds, names, computed.image_losses, state.micro_batch)
        requested = perf_counter()


def accumulate_in_memory(
    state: TrainState,
    parameters: list[nn.Parameter],
    batch: Batch,
    options: FitOptions,
    buffers: Buffers,
) -> Gradients:
    """Compute the gradient of a step; halve the micro-batch until the memory suffices."""
    computed = None
    with models.fused_attention(state.network, state.fused):
        if options.first_pass is not None:
            batch, options = options.first_pass(state, batch, options, buffers)
        while computed is None:
            with halve_on_oom(state, buffers, options.halve):
                if state.parallel is None:
                    computed = accumulate(state, parameters, batch, options)
                else:
                    computed = accumulate_over_ranks(state, state.parallel, batch, options)
    return computed


def update(state: TrainState, ema_decay: float | None, loss: float) -> None:
    """Update the weights, then the EMA, and add the loss to the list of recent losses."""
    state.optimizer.step()
    if state.ema is not None and ema_decay is not None:
        update_ema(state.ema, state.network, ema_decay)
    state.losses.append(loss)


def accumulate(state: TrainState, parameters: list[nn.Parameter], batch: Batch, options: FitOptions) -> Gradients:
    """Set ``p.grad`` to the batch's share of the gradient of a step's mean loss; return its share of that loss.

    On one rank, ``batch`` is the whole batch; on several, the shares of the ranks add up. Up to rounding, the result
    does not depend on the micro-batch size. It is the same to the last bit every time: each worker sums its own
    micro-batches, and the workers' sums are added in order.
    """
    machine, micro = options.machine, state.micro_batch
    torch.manual_seed(dropout_seed(options.seed, state.step))
    starts = list(range(0, len(batch.labels), micro))
    workers = min(count_workers(state, machine), len(starts))
    image_losses: dict[int, Tensor] = {}  # by the start of their micro-batch

    def compute_gradients(worker: int) -> tuple[Tensor, list[Tensor]]:
        loss_sum = torch.zeros((), device=machine.device)
        gradient_sums = [torch.zeros_like(p) for p in parameters]  # autograd's own gradients may share memory
        with machine.autocast():  # around all micro-batches, so that each weight is converted once
            for start in starts[worker::workers]:
                inputs, targets = batch.micro_batch(slice(start, start + micro), machine.device)
                outputs = state.forward(*inputs)
                with machine.no_autocast():
                    losses = options.loss(outputs, *targets)
                    image_losses[start] = losses.detach()
                    loss = losses.sum() / options.images
                    torch._foreach_add_(gradient_sums, torch.autograd.grad(loss, parameters))
                    loss_sum += loss.detach()
                options.tick(len(inputs[0]))
        return loss_sum, gradient_sums

    sums = machine.map(compute_gradients, range(workers), workers, count_workers(state, machine))
    (loss_sum, gradient_sums), *others = sums
    for loss, gradients in others:
        loss_sum += loss
        torch._foreach_add_(gradient_sums, gradients)
    for parameter, gradient in zip(parameters, gradient_sums):
        parameter.grad = gradient
    return Gradients(loss_sum, [image_losses[start] for start in starts])


def count_workers(state: TrainState, machine: Machine) -> int:
    """Return how many workers may compute micro-batches of ``state`` in parallel: one if the network is compiled."""
    if state.compiled is not None:
        return 1
    return machine.workers_for(state.network) if state.workers is None else state.workers


@contextmanager
def halve_on_oom(state: TrainState, buffers: Buffers, halve: bool) -> Iterator[None]:
    """Suppress an out-of-memory error inside and halve the micro-batch, for the caller to try again.

    On that error, and on Interrupted, the network's ``buffers`` are reset to their previous values. Raise OutOfMemory
    if the micro-batch is a single image, or must not be halved.
    """
    try:
        yield
    except (Interrupted, MemoryError, RuntimeError) as error:  # torch's out-of-memory error on a GPU is a RuntimeError
        if not isinstance(error, Interrupted) and not is_out_of_memory(error):
            raise
        restore_buffers(buffers)
        if isinstance(error, Interrupted):
            raise
        if state.micro_batch == 1 or not halve:
            raise step_memory_error(state, error) from None
        state.micro_batch = (state.micro_batch + 1) // 2
        torch.cuda.empty_cache()


def step_memory_error(state: TrainState, error: Exception) -> OutOfMemory:
    """Return the error of a step that fails with the micro-batch of ``state``."""
    micro = state.micro_batch
    advice = "Use a smaller model or res"
    if micro > 1:
        advice = f"Use micro_batch={micro // 2}, or auto, which halves it; the batch of a step stays the same"
    images = f"{micro} images at once" if micro > 1 else "one image at a time"
    return OutOfMemory(f"Out of memory in step {state.step + 1} with {images}{describe_allocation(error)}. {advice}.")
