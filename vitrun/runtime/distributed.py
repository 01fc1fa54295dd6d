"""Several processes, as torchrun starts them, that carry out one recipe together; nothing else knows torch.distributed.

All ranks tell each other the same things in the same order. An error travels with what its rank tells next, and is
raised on all: no rank waits for one that has failed, and rank 0 alone has to say it.

A run that is resumed on as many ranks as before ends with the same bits. On another number it sees the same images, but
float sums have another order, dropout other masks and mixup other pairs: without those two losses agree to rounding.
"""

import json
import os
import struct
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import accumulate, groupby
from typing import Any

from vitrun.errors import ExitCode, Interrupted, UserError

TIMEOUT = timedelta(days=1)  # rank 0 may download a data set while the others wait
BUCKET_NUMEL = 2**25  # numbers that are summed at once
INLINE_BYTES = 100  # bytes that are told at one go
HEADER = struct.Struct(
    f"?q{INLINE_BYTES}s"
)  # of what a rank tells: whether it is an error, how many bytes, and the first ones


def world_size() -> int:
    """How many processes carry out the recipe."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def rank() -> int:
    """The number of this one among them."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def init_process_group() -> None:
    """Join the other ranks, if there are any; raise a UserError if they cannot be reached."""
    if world_size() == 1:
        return
    import torch
    from torch import distributed

    with catch_lost_rank(f"rank {rank()} cannot meet the others: start them by torchrun"):
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=TIMEOUT)


def destroy_process_group() -> None:
    """Leave the other ranks once all of them are here."""
    if world_size() == 1:
        return
    from torch import distributed

    if distributed.is_initialized():
        with suppress(UserError):
            all_gather_bytes()
        distributed.destroy_process_group()


def exit_process(status: int) -> None:
    """End this process now where it is one of several: in its own end Python may meet a thread of gloo, and abort."""
    if world_size() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


@contextmanager
def catch_lost_rank(
    sentence: str = "another rank has ended; the same command goes on from the last checkpoint",
) -> Iterator[None]:
    """A UserError (exit 7) on every rank that cannot reach another, as when that was killed; all of them say it."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise mark_reported(
            UserError(f"{sentence} ({str(error).splitlines()[0]}).", ExitCode.DEVICE), by=range(world_size())
        ) from None


def mark_reported(error: UserError | Interrupted, by: Sequence[int] = (0,)) -> UserError | Interrupted:
    """The error, which no other rank has to be told any more, and which the ranks ``by`` say to the user."""
    error.reported_by = by
    return error


@contextmanager
def propagate_errors() -> Iterator[None]:
    """What fails inside on one rank fails on all, with the same sentence and exit status."""
    try:
        yield
        all_gather_bytes()
    except BaseException as error:
        if world_size() == 1 or getattr(error, "reported_by", None) is not None:
            raise
        if isinstance(error, KeyboardInterrupt):
            error = Interrupted(ExitCode.INTERRUPTED)
        if not isinstance(error, UserError | Interrupted):
            traceback.print_exc()
            error = UserError(f"rank {rank()} failed, as the lines above say.", ExitCode.DEVICE)
        all_gather_bytes(error=error)


@contextmanager
def rank_zero_first() -> Iterator[None]:
    """Rank 0 does what is inside before the others begin: what it downloads is there for them."""
    if rank():
        all_gather_bytes()
    yield
    if not rank():
        all_gather_bytes()


def all_gather_object(value: Any) -> list[Any]:
    """The values of all ranks, in their order; they go through JSON."""
    return [value] if world_size() == 1 else [json.loads(text) for text in all_gather_bytes(json.dumps(value).encode())]


def call_on_rank_zero(function: Callable[[], Any]) -> Any:
    """What ``function`` returns on rank 0, where alone it is called; on the others that has gone through JSON."""
    return all_gather_object(None if rank() else function())[0]


def all_gather_arrays(arrays: Sequence[Any]) -> list[Any]:
    """Each array [N, ...] of all ranks, one behind the other in their order; a rank without rows may have no arrays."""
    if world_size() == 1:
        return list(arrays)
    import numpy as np

    kinds = next(filter(None, all_gather_object([(array.dtype.str, array.shape[1:]) for array in arrays])))
    parts = [b"".join(all_gather_bytes(array.tobytes())) for array in arrays or [np.empty(0)] * len(kinds)]
    return [np.frombuffer(bytearray(part), kind).reshape(-1, *shape) for part, (kind, shape) in zip(parts, kinds)]


def all_reduce(tensors: Sequence[Any]) -> None:
    """Add up each tensor over the ranks, in place and to the same bits on all."""
    if world_size() == 1:
        return
    import torch
    from torch import distributed

    ends = accumulate(tensor.numel() for tensor in tensors)
    for _, pairs in groupby(zip(ends, tensors), lambda pair: pair[0] // BUCKET_NUMEL):
        bucket = [tensor for _, tensor in pairs]
        flat = torch.cat([tensor.flatten() for tensor in bucket])
        with catch_lost_rank():
            distributed.all_reduce(flat)
        for tensor, total in zip(bucket, flat.split([tensor.numel() for tensor in bucket])):
            tensor.copy_(total.view_as(tensor))


def all_gather_bytes(data: bytes = b"", error: UserError | Interrupted | None = None) -> list[bytes]:
    """What each rank gives, in the order of the ranks; where one gives an error, that is raised on all."""
    if world_size() == 1:
        return [data]
    if error is not None:
        data = json.dumps([error.status, str(error)]).encode()
    heads = [
        HEADER.unpack(head)
        for head in all_gather_equal_bytes(HEADER.pack(error is not None, len(data), data[:INLINE_BYTES]))
    ]
    failed, lengths, bodies = zip(*heads)
    if max(lengths) > INLINE_BYTES:
        bodies = all_gather_equal_bytes(data.ljust(max(lengths)))
    texts = [body[:length] for body, length in zip(bodies, lengths)]
    if errors := [json.loads(text) for text, one in zip(texts, failed) if one]:
        status, sentence = next((one for one in errors if one[1]), errors[0])  # a UserError before a request to stop
        raise mark_reported(UserError(sentence, ExitCode(status)) if sentence else Interrupted(ExitCode(status)))
    return texts


def all_gather_equal_bytes(data: bytes) -> list[bytes]:
    """The bytes of every rank, each of which has as many."""
    import torch
    from torch import distributed

    mine = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    found = [torch.empty_like(mine) for _ in range(world_size())]
    with catch_lost_rank():
        distributed.all_gather(found, mine)
    return [tensor.numpy().tobytes() for tensor in found]
