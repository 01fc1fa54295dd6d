"""Store by which the ranks of one command find each other: opened before they form a group."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from vitrun.errors import MAX_NAMES, ExitCode, UserError
from vitrun.runtime.ranks import (
    LAUNCHER_HINT,
    POLL_SECONDS,
    Patience,
    Ranks,
    current_ranks,
    describe_way_out,
    mark_reported,
    read_address,
    wait_for_rank_zero,
)

if TYPE_CHECKING:
    from torch.distributed import Store

TIMEOUT = timedelta(days=1)  # rank 0 may download a data set while the others wait
GRACE_SECONDS = 10  # that the others wait longer than rank 0


def open_store(ranks: Ranks) -> "Store":
    """Return the store of rank 0, or of torchrun, once every rank has joined it."""
    from torch import distributed

    patience, (host, port) = Patience(), read_address(ranks)
    serves = ranks.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    if not serves:
        wait_for_rank_zero(ranks, host, port, patience)
    with catch_lost_rank(f"rank {ranks.rank} cannot use {host}:{port} (MASTER_ADDR, MASTER_PORT)"):
        limit = timedelta(seconds=patience.left)
        server = distributed.TCPStore(host, port, ranks.size, serves, limit, wait_for_workers=False, multi_tenant=True)
    # a restart by torchrun uses the same store
    store = distributed.PrefixStore(f"vitrun {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", server)
    with catch_lost_rank(f"rank {ranks.rank} has lost rank 0 before all ranks had started"):
        wait_for_ranks(store, ranks, patience)
        server.set_timeout(TIMEOUT)
    return store


def wait_for_ranks(store: "Store", ranks: Ranks, patience: Patience) -> None:
    """Wait until every rank has joined the store; raise UserError if two have one number, or some do not start."""
    if store.add(f"rank {ranks.rank}", 1) > 1:
        raise UserError(f"Two processes are rank {ranks.rank}. {LAUNCHER_HINT}", ExitCode.DEVICE)
    missing, problem = list(range(1, ranks.size)), ""
    while ranks.rank == 0 and (missing := [number for number in missing if not store.check([f"rank {number}"])]):
        names = ", ".join(map(str, missing[:MAX_NAMES])) + ", ..." * (len(missing) > MAX_NAMES)
        if not patience.wait(f"{len(missing)} of {ranks.size} ranks: {names}"):
            problem = f"{len(missing)} of {ranks.size} ranks did not start within {patience.seconds:g} s: {names}."
            break
    if ranks.rank == 0:
        store.set("problem", problem)
    patience.seconds += GRACE_SECONDS  # rank 0 gives up first, and says which ranks are missing
    while not store.check(["problem"]):
        if not patience.wait("rank 0 and all others"):
            problem = f"Rank {ranks.rank} has found neither rank 0 nor others within {patience.seconds:g} s."
            raise UserError(f"{problem} {describe_way_out(ranks)}", ExitCode.DEVICE)
    if problem := store.get("problem").decode():
        time.sleep(5 * POLL_SECONDS * (ranks.rank == 0))  # the store ends with rank 0: the others are to read it
        raise mark_reported(UserError(f"{problem} {describe_way_out(ranks)}", ExitCode.DEVICE))


@contextmanager
def catch_lost_rank(message: str) -> Iterator[None]:
    """Raise UserError (exit code 7) if the ranks cannot connect; every rank prints it."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        lost = UserError(f"{message} ({str(error).splitlines()[0]}).", ExitCode.DEVICE)
        raise mark_reported(lost, by=range(current_ranks().size)) from None
