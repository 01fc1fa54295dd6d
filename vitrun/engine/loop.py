"""The training loop."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from time import perf_counter

import torch
from torch import Tensor, nn

from vitrun.data import Batch
from vitrun.engine.freezing import set_training_mode
from vitrun.engine.optim import list_trained, set_lr, update_ema
from vitrun.engine.state import TrainState
from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine
from vitrun.runtime.random import derive_seed

MAX_NAMED = 4  # images that an error names


@dataclass(frozen=True)
class FitOptions:
    """Options of :func:`fit`."""

    loss: Callable[..., Tensor]  # loss(outputs, *targets) -> the loss of each image [B]
    images: int  # in the batch of a step, over all ranks
    lr: Callable[[int], float]  # the learning rate at a step
    clip: float | None  # bound on the gradient's global norm
    ema_decay: float | None
    seed: int  # of dropout and stochastic depth
    machine: Machine
    tick: Callable[[int], None]  # called with the number of images after each micro-batch; may raise Interrupted


@dataclass(frozen=True)
class Step:
    """Report of one step."""

    number: int  # steps done, this one included
    loss: float
    norm: float  # of the gradient, before clipping
    lr: float
    data_seconds: float  # spent waiting for the batch
    step_seconds: float  # in all


def fit(state: TrainState, batches: Iterable[Batch], options: FitOptions) -> Iterator[Step]:
    """Train on ``batches``, one step each, and yield a report of every step.

    With several ranks each rank passes its share of a batch. If ``options.tick`` raises, the step is not taken and
    ``state`` is that of the step before. Raise UserError (exit code 5) before the update if the loss or the gradient is
    not finite.
    """
    parameters = list_trained(state.network)
    set_training_mode(state.network)
    requested = perf_counter()
    for batch in batches:
        received = perf_counter()
        lr = options.lr(state.step)
        set_lr(state.optimizer, lr)
        loss = None
        while loss is None:
            with halve_on_oom(state):
                loss = accumulate(state, parameters, batch, options)
        loss = sum(distributed.all_gather_object(loss))
        distributed.all_reduce([p.grad for p in parameters if p.grad is not None])
        norm = float(nn.utils.clip_grad_norm_(parameters, options.clip or torch.inf))
        if not (isfinite(loss) and isfinite(norm)):
            raise non_finite_error(state.step, loss, norm, batch, options)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        if state.ema is not None and options.ema_decay is not None:
            update_ema(state.ema, state.network, options.ema_decay)
        state.step += 1
        now = perf_counter()
        yield Step(state.step, loss, norm, lr, received - requested, now - requested)
        requested = perf_counter()


def accumulate(state: TrainState, parameters: list[nn.Parameter], batch: Batch, options: FitOptions) -> float:
    """Set ``p.grad`` to the batch's share of the gradient of a step's mean loss; return its share of that loss.

    With one rank ``batch`` holds all images, with several the shares of the ranks add up. The result does not depend on
    the micro-batch size. It is the same to the last bit every time: each worker sums its own micro-batches, and the
    workers' sums are added in order.
    """
    machine, micro = options.machine, state.micro_batch
    torch.manual_seed(dropout_seed(options.seed, state.step))
    starts = list(range(0, len(batch.labels), micro))
    workers = min(machine.workers_for(state.network), len(starts))

    def compute_gradients(worker: int) -> tuple[Tensor, list[Tensor]]:
        loss_sum = torch.zeros((), device=machine.device)
        gradient_sums = [torch.zeros_like(p) for p in parameters]  # autograd's own gradients may share memory
        for start in starts[worker::workers]:
            inputs, targets = batch.micro_batch(slice(start, start + micro), machine.device)
            with machine.autocast():
                outputs = state.network(*inputs)
            loss = options.loss(outputs, *targets).sum() / options.images
            torch._foreach_add_(gradient_sums, torch.autograd.grad(loss, parameters))
            loss_sum += loss.detach()
            options.tick(len(inputs[0]))
        return loss_sum, gradient_sums

    (loss_sum, gradient_sums), *others = machine.map(compute_gradients, range(workers), workers)
    for loss, gradients in others:
        loss_sum += loss
        torch._foreach_add_(gradient_sums, gradients)
    for parameter, gradient in zip(parameters, gradient_sums):
        parameter.grad = gradient
    return float(loss_sum)


def dropout_seed(seed: int, step: int) -> int:
    """Return the seed of what layers draw in a step: another one for each rank."""
    return derive_seed(seed, f"dropout {distributed.rank()}" if distributed.rank() else "dropout", step)


@contextmanager
def halve_on_oom(state: TrainState) -> Iterator[None]:
    """Suppress an out-of-memory error of the GPU inside and halve the micro-batch, for the caller to try again.

    On that error, and on Interrupted, the buffers of the network (the statistics of batch norm) are reset to what they
    were. Raise UserError if the micro-batch is one image already.
    """
    buffers = [(buffer, buffer.clone()) for buffer in state.network.buffers()]
    try:
        yield
    except (Interrupted, torch.OutOfMemoryError) as error:
        for buffer, value in buffers:
            buffer.copy_(value)
        if isinstance(error, Interrupted):
            raise
        if state.micro_batch == 1:
            reason = f"Out of memory with one image at a time: {error}. Use a smaller model or res."
            raise UserError(reason, ExitCode.SPACE) from None
        state.micro_batch = (state.micro_batch + 1) // 2
        torch.cuda.empty_cache()


def non_finite_error(step: int, loss: float, norm: float, batch: Batch, options: FitOptions) -> UserError:
    """Return the error of a step whose loss or gradient is not finite."""
    images = batch.name_images(range(min(MAX_NAMED, len(batch.indices))))
    clip_hint = "" if options.clip else ", or clip=1"
    return UserError(
        f"Step {step} has loss {loss:.4g} and gradient norm {norm:.4g} at lr {options.lr(step):.3g} "
        f"(images {images}, ...): stopped before the update. Try a smaller optim.lr, or a longer warmup{clip_hint}.",
        ExitCode.NUMERICS,
    )
