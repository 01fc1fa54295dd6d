"""Ranks of one process group, as forks that call a function."""

import os
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch

from helpers.processes import FORKS, find_free_port
from vitrun.runtime import distributed


def run_ranks(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return what a function of a module of helpers returns on each rank; raise an AssertionError with a traceback."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_port()), "WORLD_SIZE": str(size)}
    ranks = []
    for rank in range(size):
        reader, writer = FORKS.Pipe(duplex=False)
        variables = address | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        process = FORKS.Process(target=call, args=(writer, variables, function, arguments), daemon=True)
        process.start()
        writer.close()
        ranks.append((process, reader))
    results = [reader.recv() for _, reader in ranks]
    for process, _ in ranks:
        process.join()
    failed = [result for result in results if isinstance(result, str)]
    assert not failed, "\n".join(failed)
    return results


def call(writer: Connection, variables: dict[str, str], function: Callable[..., Any], arguments: Sequence[Any]) -> None:
    """Send what a function returns as a rank, or the traceback of its error."""
    os.environ.update(variables)
    torch.set_num_threads(1)
    try:
        distributed.init_process_group()
        result = function(*arguments)
        distributed.destroy_process_group()
    except BaseException:
        result = traceback.format_exc()
    writer.send(result)
    writer.close()
    os._exit(0)
