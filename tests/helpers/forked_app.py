"""The command line of vitrun, run in a forked process."""

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from multiprocessing.connection import Connection
from pathlib import Path

from helpers.limits import limited_memory


def run_app(
    arguments: Sequence[str],
    stdout: Connection,
    stderr: Connection,
    folder: Path,
    environment: dict[str, str],
    memory: int | None,
) -> None:
    """Run ``vitrun ARGUMENTS`` in a folder and an environment, as leader of a process group with two output pipes."""
    os.setsid()
    for pipe, descriptor in ((stdout, 1), (stderr, 2)):
        os.dup2(pipe.fileno(), descriptor)
        pipe.close()
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if "OMP_NUM_THREADS" in environment and "torch" in sys.modules:  # which read it when it was imported
        sys.modules["torch"].set_num_threads(int(environment["OMP_NUM_THREADS"]))
    add_packages(environment.get("PYTHONPATH", ""))
    with limited_memory(memory) if memory else nullcontext():
        importlib.import_module("vitrun.__main__").main(list(arguments))


def add_packages(paths: str) -> None:
    """Put folders of PYTHONPATH on ``sys.path``; if any is new, import vitrun again, so that it finds their plugins."""
    new = [path for path in paths.split(os.pathsep) if path and path not in sys.path]
    if new:
        sys.path[:0] = new
        for name in [name for name in sys.modules if name.split(".")[0] == "vitrun"]:
            del sys.modules[name]
