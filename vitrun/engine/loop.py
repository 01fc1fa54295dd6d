"""The training loop."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from math import isfinite
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn

from vitrun.data import Batch
from vitrun.engine.optim import set_lr, update_ema
from vitrun.engine.state import TrainState
from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine
from vitrun.runtime.random import derive_seed


@dataclass(frozen=True)
class Step:
    """What one step did."""

    number: int  # steps done with this one
    loss: float
    norm: float  # of the gradient, before the clip
    lr: float
    images: int
    data_seconds: float  # seconds for data
    step_seconds: float  # seconds in all


def fit(
    state: TrainState,
    batches: Iterable[Batch],
    *,
    lr: Callable[[int], float],
    objective: Callable[..., Tensor],
    clip: float | None,
    decay: float | None,
    seed: int,
    machine: Machine,
    tick: Callable[[int], None],
) -> Iterator[Step]:
    """Train on ``batches``, one step each, and tell of every step; with several ranks each has its share of a batch.

    ``objective(outputs, *targets)`` is the loss of each image [B], of what the network makes of a batch's inputs.
    ``tick(images)`` is called after each micro-batch and may raise: the step is then not done, and ``state`` is whole.
    Raises a UserError (exit 5) before the update where the loss or the gradient is not finite.
    """
    parameters = [p for p in state.network.parameters() if p.requires_grad]
    state.network.train()
    asked = perf_counter()
    for batch in batches:
        got = perf_counter()
        images = sum(distributed.all_gather_object(len(batch.labels)))
        rate = lr(state.step)
        set_lr(state.optimizer, rate)
        dropout = derive_seed(seed, f"dropout {distributed.rank()}" if distributed.rank() else "dropout", state.step)
        work = partial(accumulate, state, parameters, batch, images, objective, machine, dropout, tick)
        loss = sum(distributed.all_gather_object(retry_on_oom(state, work)))
        distributed.all_reduce([p.grad for p in parameters])
        norm = float(nn.utils.clip_grad_norm_(parameters, clip or torch.inf))
        if not (isfinite(loss) and isfinite(norm)):
            raise non_finite_error(state.step, loss, norm, rate, batch.indices, clip)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        if state.ema is not None:
            update_ema(state.ema, state.network, decay)
        state.step += 1
        now = perf_counter()
        yield Step(state.step, loss, norm, rate, images, got - asked, now - asked)
        asked = perf_counter()


def retry_on_oom(state: TrainState, work: Callable[[], float]) -> float:
    """What ``work`` returns; on a GPU that runs out of memory the micro-batch is halved and the batch begun again.

    Where it does not come to its end, the statistics that layers keep of batches are as they were.
    """
    before = [(buffer, buffer.clone()) for buffer in state.network.buffers()]
    while True:
        try:
            return work()
        except (Interrupted, torch.OutOfMemoryError) as error:
            for buffer, kept in before:
                buffer.copy_(kept)
            if isinstance(error, Interrupted):
                raise
            if state.micro_batch == 1:
                reason = f"Out of memory with one image at a time: {error}. Use a smaller model or res."
                raise UserError(reason, ExitCode.SPACE) from None
            state.micro_batch = (state.micro_batch + 1) // 2
            torch.cuda.empty_cache()


def accumulate(
    state: TrainState,
    parameters: list[nn.Parameter],
    batch: Batch,
    images: int,
    objective: Callable[..., Tensor],
    machine: Machine,
    dropout: int,
    tick: Callable[[int], None],
) -> float:
    """Put into ``p.grad`` the batch's share of the gradient of the mean loss of ``images``; and its share of the loss.

    That does not depend on the micro-batch; with one rank the batch has all images, else the ranks' shares are to add.
    Each lane adds up its own micro-batches, and the lanes are added in order; ``dropout`` is the seed of what layers
    draw: the same bits every time.
    """
    torch.manual_seed(dropout)
    micro = state.micro_batch
    starts = list(range(0, len(batch.labels), micro))
    lanes = min(machine.workers_for(state.network), len(starts))

    def work(lane: int) -> tuple[Tensor, list[Tensor]]:
        loss = torch.zeros((), device=machine.device)
        total = [torch.zeros_like(p) for p in parameters]  # its own memory: autograd's gradients may share theirs
        for start in starts[lane::lanes]:
            inputs, targets = batch.micro_batch(slice(start, start + micro), machine.device)
            with machine.autocast():
                outputs = state.network(*inputs)
            part = objective(outputs, *targets).sum() / images
            torch._foreach_add_(total, torch.autograd.grad(part, parameters))
            loss += part.detach()
            tick(len(inputs[0]))
        return loss, total

    (loss, total), *others = machine.map(work, range(lanes), lanes)
    for more, gradients in others:
        loss += more
        torch._foreach_add_(total, gradients)
    for parameter, gradient in zip(parameters, total):
        parameter.grad = gradient
    return float(loss)


def non_finite_error(
    step: int, loss: float, norm: float, lr: float, indices: np.ndarray, clip: float | None
) -> UserError:
    """The error for a step that must not be taken."""
    clipped = "" if clip else ", or clip=1"
    shown = ", ".join(map(str, indices[:8].tolist()))
    return UserError(
        f"Step {step} has loss {loss:.4g} and gradient norm {norm:.4g} at lr {lr:.3g} (images {shown}, ...): "
        f"stopped before the update. Try a smaller optim.lr, or a longer warmup{clipped}.",
        ExitCode.NUMERICS,
    )
