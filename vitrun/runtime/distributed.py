"""Ranks of one command, started by torchrun or srun; only this module and rank_store use torch.distributed.

All ranks call the same functions in the same order. Every exchange of objects also carries errors: an error on one rank
is raised on all ranks at their next exchange, so that none waits for a rank that has failed, and rank 0 prints it once.

A run that is resumed on as many ranks as before ends with the same bits. On another number it sees the same images, but
float sums have another order, dropout other masks and mixup other pairs: without those two losses agree to rounding.
"""

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, TypeVar

from vitrun.errors import (
    ExitCode,
    Interrupted,
    OutOfMemory,
    UserError,
    describe_allocation,
    described_os_errors,
    is_out_of_memory,
)
from vitrun.runtime import heartbeat
from vitrun.runtime.rank_store import TIMEOUT, catch_lost_rank, open_store
from vitrun.runtime.ranks import current_ranks, mark_reported, read_ranks
from vitrun.runtime.stop import defer_stop

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

T = TypeVar("T")
BUCKET_NUMEL = 2**25  # numbers that are reduced at once
LOST_RANK = "another rank has ended"
# In messages of torch about a connection to another rank, by gloo, NCCL or the store
CONNECTION_ERROR = r"gloo/|NCCL|[Cc]onnection|[Ss]ocket|Timed out|timed out"


def world_size() -> int:
    """Return the number of ranks: 1 without torchrun or srun."""
    return current_ranks().size


def rank() -> int:
    """Return the number of this process among the ranks, from 0."""
    return current_ranks().rank


def init_process_group() -> None:
    """Join the other ranks, if there are any; raise UserError (exit code 7) if they do not start in time."""
    ranks = read_ranks(os.environ)
    if ranks.size == 1:
        return
    import torch
    from torch import distributed

    try:
        store = open_store(ranks)
    except UserError as error:
        raise mark_reported(error, by=error.reported_by or range(ranks.size)) from None
    with catch_lost_rank(f"rank {ranks.rank} cannot connect to the others"):
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        beats = store.clone()  # for another thread
        distributed.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.size, timeout=TIMEOUT)
        heartbeat.start_heartbeat(beats, ranks.rank, ranks.size)


@contextmanager
def exchange(computes: bool = False) -> Iterator[None]:
    """Complete a collective before a signal interrupts this rank; raise UserError if another rank has ended.

    If this rank runs out of memory inside, or with ``computes`` has any other error of its own, it cannot pass that on
    to the others, which wait for it: it ends, as they find out.
    """
    beats = heartbeat.OWN
    try:
        with defer_stop(), beats.waiting() if beats else nullcontext():
            yield
    except Exception as error:
        is_lack = is_out_of_memory(error)
        if isinstance(error, UserError) or not (is_lack or computes or isinstance(error, RuntimeError | ValueError)):
            raise
        if is_lack:
            if beats:
                beats.leave()
            raise mark_reported(describe_lack(error), by=[rank()]) from None
        if computes and not is_connection_error(error):
            if beats:
                beats.leave()
            traceback.print_exc()
            raise mark_reported(failed_rank_error(), by=[rank()]) from None
        dead = beats.find_dead() if beats else []
        what = f"{beats.describe(dead[0])} has ended or was killed" if beats and dead else LOST_RANK
        reason = re.sub(r"^\[[^]]*\] |\. This is .*", "", str(error).splitlines()[0])  # without gloo's line and advice
        lost = UserError(f"{what} ({reason}). {heartbeat.CONTINUE}.", ExitCode.DEVICE)
        left = sorted({*range(world_size())} - {*dead})
        raise mark_reported(lost, by=left[:1] if dead else left) from None


def is_connection_error(error: Exception) -> bool:
    """Return whether torch raised an error because it cannot reach another rank."""
    return isinstance(error, RuntimeError) and re.search(CONNECTION_ERROR, str(error)) is not None


def failed_rank_error() -> UserError:
    """Return the error of a rank that has printed a traceback."""
    return UserError(f"rank {rank()} failed, see the traceback above.", ExitCode.DEVICE)


def describe_lack(error: Exception) -> OutOfMemory:
    """Return the error of a rank that has run out of memory while the others wait for it."""
    advice = "Use a smaller micro_batch (the batch of a step stays the same), model or res"
    return OutOfMemory(
        f"Out of memory on rank {rank()}, amid a sum of all ranks{describe_allocation(error)}. {advice}."
    )


def destroy_process_group() -> None:
    """Leave the other ranks, once all of them are here."""
    if world_size() == 1:
        return
    from torch import distributed

    beats = heartbeat.OWN
    if distributed.is_initialized() and not (beats and beats.closing.is_set()):  # else nobody is there
        with suppress(UserError):
            barrier()
        if beats:
            beats.closing.set()
        distributed.destroy_process_group()


def exit_process(status: int) -> None:
    """End this process at once if it is one of several: a thread of gloo may abort Python's own shutdown."""
    if world_size() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


@contextmanager
def propagate_errors() -> Iterator[None]:
    """Raise an error of one rank inside on all ranks, with the same message and exit code."""
    try:
        with described_os_errors():
            yield
        barrier()
    except BaseException as error:
        if world_size() == 1 or getattr(error, "reported_by", None) is not None:
            raise
        if isinstance(error, KeyboardInterrupt):
            error = Interrupted(ExitCode.INTERRUPTED)
        if not isinstance(error, UserError | Interrupted):
            traceback.print_exc()
            error = failed_rank_error()
        all_gather_object(error)


@contextmanager
def rank_zero_first() -> Iterator[None]:
    """Execute the body on rank 0 before the other ranks, which then find what it has downloaded."""
    if rank():
        barrier()
    yield
    if not rank():
        barrier()


def barrier() -> None:
    """Wait for all ranks; raise the error of a rank that has failed."""
    all_gather_object(None)


def all_gather_object(value: T) -> list[T]:
    """Return the values of all ranks in order; if a rank passes an error, raise it on all of them.

    A UserError takes precedence over Interrupted.
    """
    if world_size() == 1:
        return [value]
    from torch import distributed

    values: list[Any] = [None] * world_size()
    with exchange():
        distributed.all_gather_object(values, value)
    errors = [value for value in values if isinstance(value, UserError | Interrupted)]
    if errors:
        raise mark_reported(next((error for error in errors if isinstance(error, UserError)), errors[0]))
    return values


def call_on_rank_zero(function: Callable[[], T]) -> T:
    """Call ``function`` on rank 0 alone and return its value on all ranks."""
    return all_gather_object(None if rank() else function())[0]  # type: ignore[return-value]  # that of rank 0


def all_gather_arrays(arrays: Sequence["np.ndarray"]) -> list["np.ndarray"]:
    """Concatenate each array [N, ...] over the ranks in order; a rank without rows may pass no arrays at all."""
    if world_size() == 1:
        return list(arrays)
    import numpy as np

    return [np.concatenate(parts) for parts in zip(*filter(None, all_gather_object(list(arrays))))]


def wait_for_device(tensor: "Tensor") -> None:
    """Wait for the GPU that computes a tensor: inside :func:`exchange`, where a rank that hangs is found."""
    if tensor.is_cuda:
        import torch

        torch.cuda.current_stream().synchronize()


def all_reduce(tensors: Sequence["Tensor"]) -> None:
    """Sum each tensor over the ranks, in place and to the same bits on all."""
    if world_size() == 1:
        return
    import torch
    from torch import distributed

    ends = accumulate(tensor.numel() for tensor in tensors)
    for _, pairs in groupby(zip(ends, tensors), lambda pair: pair[0] // BUCKET_NUMEL):
        bucket = [tensor for _, tensor in pairs]
        flat = torch.cat([tensor.flatten() for tensor in bucket])
        with exchange():
            distributed.all_reduce(flat)
            wait_for_device(flat)
        for tensor, total in zip(bucket, flat.split([tensor.numel() for tensor in bucket])):
            tensor.copy_(total.view_as(tensor))
