"""Run commands as processes, send them signals, and read their output and exit codes.

A process is a fork of a server that has imported what commands import: it starts in milliseconds instead of seconds.
Tests of the start and the exit of the interpreter use ``subprocess``.
"""

import multiprocessing
import os
import socket
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from helpers.forked_app import run_app
from helpers.overrides import TINY

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["vitrun.commands.pretrain", "vitrun.commands.evaluate", "hydra", "torch._dynamo"])
LONG_RUN = [
    *(override for override in TINY if not override.startswith(("steps=", "warmup="))),
    *("steps=40", "warmup=4", "ema=0.9", "save_minutes=0", "model.dropout=0.1"),
]


class CommandProcess:
    """``vitrun ARGUMENTS`` in a process and a process group of its own."""

    returncode: int  # set by ``wait``, as is the output
    stdout: str
    stderr: str

    def __init__(
        self,
        *arguments: str,
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
        memory: int | None = None,
    ):
        readers, writers = zip(*(FORKS.Pipe(duplex=False) for _ in range(2)))
        place = (
            folder or Path.cwd(),
            environment or dict(os.environ),
            memory,
        )  # its working folder, its complete environment, and the bytes that it may allocate
        self.process = FORKS.Process(target=run_app, args=(arguments, *writers, *place), daemon=True)
        self.process.start()
        self.pid, self.pipes = self.process.pid, readers
        for writer in writers:
            writer.close()

    def is_running(self) -> bool:
        """Return whether the process has not ended."""
        return self.process.is_alive()

    def wait(self) -> str:
        """Wait for the process to end; return standard output followed by standard error."""
        self.stdout, self.stderr = map(read_pipe, self.pipes)
        self.process.join()
        self.returncode = self.process.exitcode
        return self.stdout + self.stderr


def read_pipe(pipe: Connection) -> str:
    """Return the text of a pipe up to its end."""
    with open(pipe.fileno(), encoding="utf-8", closefd=False) as file:
        return file.read()


def run_forked(command: str, overrides: Sequence[str], silent: bool = False) -> int:
    """Replace ``subprocesses.run_process`` in tests that do not need a separate interpreter."""
    process = CommandProcess(command, *overrides)
    output = process.wait()
    if not silent:
        print(output, end="")
    return process.returncode


def start_pretraining(runs: Path, *overrides: str) -> CommandProcess:
    """Start a pretraining run of 40 steps, which saves a checkpoint after each."""
    return CommandProcess("pretrain", *LONG_RUN, *overrides, f"runs={runs}")


def start_ranks(count: int, *arguments: str) -> list[CommandProcess]:
    """Start a command as several ranks, with the environment variables that torchrun sets."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_port()), "OMP_NUM_THREADS": "1"}
    ranks = ({"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)} for rank in range(count))
    return [CommandProcess(*arguments, environment=os.environ | address | rank) for rank in ranks]


def start_tasks(count: int, *arguments: str) -> list[CommandProcess]:
    """Start a command as the tasks of a step of SLURM, with the environment variables that srun sets."""
    step = {"SLURM_NTASKS": str(count), "SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "localhost"}
    tasks = ({"SLURM_PROCID": str(task), "SLURM_LOCALID": str(task)} for task in range(count))
    return [CommandProcess(*arguments, environment=os.environ | {"OMP_NUM_THREADS": "1"} | step | t) for t in tasks]


def find_free_port() -> int:
    """Return a port that no process listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_steps(runs: Path, steps: int) -> None:
    """Wait up to a minute until the run in a folder of runs has saved ``steps`` steps."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not any(
        int(path.name[5:]) >= steps for path in runs.glob("*/checkpoints/step-*")
    ):
        time.sleep(0.01)


def signal_after_steps(process: CommandProcess, runs: Path, steps: int, number: int, send=os.kill) -> str:
    """Send a signal once that many steps are saved; return the output."""
    wait_for_steps(runs, steps)
    send(process.pid, number)
    return process.wait()


def read_error_line(done, status: int) -> str:
    """Return the single line of standard error of a failed command; ``done`` has ``returncode`` and ``stderr``."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr
