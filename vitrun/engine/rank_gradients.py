"""Gradient of a step that several ranks share, summed over them while backward runs.

An error of one rank reaches the others where they exchange objects. So all ranks do that once before they reduce
gradients, and none raises an error between the two.
"""

import torch
from torch import Tensor

from vitrun.data import Batch
from vitrun.engine.buffers import copy_buffers, restore_buffers
from vitrun.engine.fit_options import FitOptions, Gradients, dropout_seed
from vitrun.engine.state import TrainState
from vitrun.runtime import distributed
from vitrun.runtime.fsdp import ShardedNetwork
from vitrun.runtime.replicas import Replica


def accumulate_over_ranks(
    state: TrainState, parallel: Replica | ShardedNetwork, batch: Batch, options: FitOptions
) -> Gradients:
    """Set ``p.grad`` to the gradient of a step's mean loss; return this rank's share of that loss."""
    if isinstance(parallel, Replica):
        return accumulate_replicas(state, parallel, batch, options)
    return accumulate_shards(state, parallel, batch, options)


def accumulate_replicas(state: TrainState, replica: Replica, batch: Batch, options: FitOptions) -> Gradients:
    """Return what :func:`accumulate_over_ranks` does, for ranks that have the whole network each.

    The gradients of all micro-batches but the last one are added on this rank, those of the last one on the way to the
    sum of all ranks. The result is the same to the last bit every time.
    """
    machine, micro, forward = options.machine, state.micro_batch, state.compiled or replica
    if not replica.is_settled:
        settle_buckets(state, replica, batch, options)
    torch.manual_seed(dropout_seed(options.seed, state.step))
    state.optimizer.zero_grad(set_to_none=True)  # of a pass that ran out of memory
    loss_sum = torch.zeros((), device=machine.device)
    image_losses: list[Tensor] = []

    def compute_loss(start: int) -> Tensor:
        nonlocal loss_sum
        inputs, targets = batch.micro_batch(slice(start, start + micro), machine.device)
        outputs = forward(*inputs)
        with machine.no_autocast():
            losses = options.loss(outputs, *targets)
            image_losses.append(losses.detach())
            loss = losses.sum() / options.images
        loss_sum += loss.detach()
        options.tick(len(inputs[0]))
        return loss

    *starts, last = range(0, len(batch.labels), micro)
    with machine.autocast():  # around all micro-batches, so that each weight is converted once
        with replica.local():
            for start in starts:
                loss = compute_loss(start)
                with machine.no_autocast():
                    loss.backward()
        loss = compute_loss(last)
    distributed.barrier()
    replica.backward(loss)
    return Gradients(loss_sum, image_losses)


def settle_buckets(state: TrainState, replica: Replica, batch: Batch, options: FitOptions) -> None:
    """Compute a gradient of one image and discard it, after which torch's buckets stay the same in every attempt."""
    buffers = copy_buffers(state.network)
    inputs, targets = batch.micro_batch(slice(0, 1), options.machine.device)
    with options.machine.autocast():
        outputs = replica(*inputs)
    loss = options.loss(outputs, *targets).sum()
    distributed.barrier()
    replica.backward(loss)
    state.optimizer.zero_grad(set_to_none=True)
    restore_buffers(buffers)
    replica.is_settled = True


def accumulate_shards(state: TrainState, network: ShardedNetwork, batch: Batch, options: FitOptions) -> Gradients:
    """Return what :func:`accumulate_over_ranks` does, for ranks that have a part of the network each.

    Every pass exchanges weights and gradients with the other ranks, which have as many micro-batches. So nothing
    interrupts this rank between the first pass and the last.
    """
    machine, micro, forward = options.machine, state.micro_batch, state.compiled or network
    distributed.barrier()  # every rank has its batch
    torch.manual_seed(dropout_seed(options.seed, state.step))
    loss_sum = torch.zeros((), device=machine.device)
    image_losses: list[Tensor] = []
    for start in range(0, len(batch.labels), micro):
        with distributed.exchange(computes=True):
            inputs, targets = batch.micro_batch(slice(start, start + micro), machine.device)
            with machine.autocast():
                outputs = forward(*inputs)
            losses = options.loss(outputs, *targets)
            loss = losses.sum() / options.images
            loss.backward()
            distributed.wait_for_device(loss)
        image_losses.append(losses.detach())
        loss_sum += loss.detach()
    options.tick(len(batch.labels))
    return Gradients(loss_sum, image_losses)
