"""Gradient of a loss that needs the outputs for all images of a step at once, over micro-batches and ranks.

The first pass computes the outputs of every micro-batch without gradients. The loss of all of them, and its gradient
with respect to each output, are a small computation. The second pass computes the outputs again, with the same random
draws, and continues backward from these gradients (GradCache, arXiv 2101.06983; open_clip's ``--accum-freq``). The
result is that of one batch on one rank, for networks without batch norm. It costs a third more than one pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from vitrun.data import Batch
from vitrun.engine.buffers import Buffers, restore_buffers
from vitrun.engine.fit_options import FitOptions, dropout_seed
from vitrun.engine.interfaces import Objective
from vitrun.engine.loop import count_workers, halve_on_oom
from vitrun.engine.state import TrainState
from vitrun.runtime import distributed


def is_joint(objective: Objective) -> bool:
    """Return whether a loss needs the outputs for all images of a step at once."""
    return bool(getattr(objective, "joint", False))


def pass_outputs(state: TrainState, batch: Batch, options: FitOptions, buffers: Buffers) -> tuple[Batch, FitOptions]:
    """Compute the first pass; return the batch and the options of the second.

    ``options.loss(outputs, places)`` is that of the pairs at ``places`` [B] among all of the step; ``outputs`` are
    those of the network: one with rows [N, ...] for all images of the step, one without axes as it is for every image.
    The second pass has a loss of the same values, whose gradient with respect to the outputs is that of the sum of all
    losses. One micro-batch on one rank needs no first pass.
    """
    if distributed.world_size() == 1 and state.micro_batch >= len(batch.labels):
        return batch, options
    outputs = None
    while outputs is None:
        with halve_on_oom(state, buffers, options.halve):
            outputs = compute_outputs(state, batch, options)
    restore_buffers(buffers)  # the second pass updates the statistics of batch norm
    places = batch.labels.to(options.machine.device)
    losses, gradients = differentiate(partial(options.loss, places=places), *gather_outputs(outputs))
    rows = [gradient for gradient in gradients if gradient.ndim]
    shared = [gradient / len(places) for gradient in gradients if not gradient.ndim]
    second = replace(options, loss=partial(continue_backward, shared=shared))
    return replace(batch, targets=(losses, *rows)), second


@torch.no_grad()
def compute_outputs(state: TrainState, batch: Batch, options: FitOptions) -> list[Tensor]:
    """Return the outputs of the network for the batch, computed in micro-batches as in the second pass."""
    machine, micro = options.machine, state.micro_batch
    torch.manual_seed(dropout_seed(options.seed, state.step))
    starts = range(0, len(batch.labels), micro)

    def compute(start: int) -> Sequence[Tensor]:
        inputs, _ = batch.micro_batch(slice(start, start + micro), machine.device)
        with torch.no_grad(), machine.autocast():  # in each thread
            outputs: Sequence[Tensor] = state.forward(*inputs)
        options.tick(0)
        return outputs

    workers = count_workers(state, machine)
    parts = machine.map(compute, starts, min(workers, len(starts)), workers)
    return [torch.cat(column) if column[0].ndim else column[0] for column in zip(*parts)]


def gather_outputs(outputs: Sequence[Tensor]) -> tuple[list[Tensor], slice]:
    """Return the outputs for the images of all ranks, in the order of the ranks, and which rows are this rank's.

    The sum of tensors that are zero but for the rows of a rank is exact, and needs no equal numbers of rows.
    """
    counts = distributed.all_gather_object(next(len(output) for output in outputs if output.ndim))
    first = sum(counts[: distributed.rank()])
    own = slice(first, first + counts[distributed.rank()])
    gathered = [output.new_zeros(sum(counts), *output.shape[1:]) if output.ndim else output for output in outputs]
    with_rows = [index for index, output in enumerate(outputs) if output.ndim]
    for index in with_rows:
        gathered[index][own] = outputs[index]
    distributed.all_reduce([gathered[index] for index in with_rows])
    return gathered, own


def differentiate(loss: Callable[..., Tensor], outputs: Sequence[Tensor], own: slice) -> tuple[Tensor, list[Tensor]]:
    """Return the losses of this rank's images, and the gradient of the sum of all ranks' losses for its outputs.

    The gradient of an output without axes is that of this rank's losses: the ranks add theirs as those of parameters.
    """
    leaves = [output.detach().requires_grad_() for output in outputs]
    with torch.enable_grad():
        losses = loss(leaves)
    gradients = torch.autograd.grad(losses.sum(), leaves)
    distributed.all_reduce([gradient for gradient in gradients if gradient.ndim])
    return losses.detach(), [gradient[own] if gradient.ndim else gradient for gradient in gradients]


def continue_backward(
    outputs: Sequence[Tensor], places: Tensor, losses: Tensor, *rows: Tensor, shared: Sequence[Tensor]
) -> Tensor:
    """Return ``losses`` [B], whose gradient for each output is the given one: in its rows, or shared by all images."""
    gradients = iter(rows)
    parts = [(output * next(gradients)).flatten(1).sum(1) for output in outputs if output.ndim]
    parts += [output * gradient for output, gradient in zip((o for o in outputs if not o.ndim), shared)]
    continued = torch.stack([part.expand(len(losses)) for part in parts]).sum(0)
    return losses + (continued - continued.detach())
