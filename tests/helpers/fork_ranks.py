"""Run commands of ``vitrun`` as several ranks, one after the other: ``python fork_ranks.py RANKS JSON...``.

Each JSON is a list of arguments. Of each command it prints the ranks' process ids, then their exit statuses. The ranks
are forks of one process, so that torch is imported once; they meet as torchrun's processes do, by the environment.
"""

import json
import os
import socket
import sys
from importlib import import_module

from vitrun.cli import app

SLOW = ("vitrun.commands.pretrain", "vitrun.commands.evaluate", "hydra", "torch._dynamo")  # to import


def begin(overrides: list[str], rank: int, ranks: int, port: int) -> int:
    """The process id of a new rank."""
    if process := os.fork():
        return process
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), **address}
    status = 1
    try:
        app.app(overrides)
    except SystemExit as end:
        status = end.code or 0
    finally:
        sys.stdout.flush()
        os._exit(status)


def free_port() -> int:
    """A port that no process listens on."""
    with socket.socket() as at:
        at.bind(("127.0.0.1", 0))
        return at.getsockname()[1]


if __name__ == "__main__":
    ranks = int(sys.argv[1])
    for module in SLOW:
        import_module(module)
    for overrides in map(json.loads, sys.argv[2:]):
        port = free_port()
        processes = [begin(overrides, rank, ranks, port) for rank in range(ranks)]
        print(json.dumps(processes), flush=True)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]), flush=True)
