"""``vitrun`` commands in processes of their own, which stop when the process that started them is gone."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

from vitrun.errors import ExitCode
from vitrun.runtime.stop import handle_stop_signals

PROGRAM = (sys.executable, "-P", "-m", "vitrun")
STOP_SIGNALS = {ExitCode.INTERRUPTED: signal.SIGINT, ExitCode.TERMINATED: signal.SIGTERM}  # that are passed on
PARENT_PIPE = "VITRUN_PARENT_PIPE"  # environment variable: the descriptor of a pipe that ends with the parent process


def run_process(command: str, overrides: Sequence[str], silent: bool = False) -> int:
    """Run ``vitrun <command> <overrides>`` and return its exit code; ``silent`` drops its standard output.

    On SIGINT or SIGTERM, which are passed on, wait until the process has saved its state and return the exit code of
    that, even if the process had just finished: the caller is to stop as well. Ctrl-C reaches both processes; that and
    the one that is passed on count as one.
    """
    requests: list[ExitCode] = []

    def pass_on(status: ExitCode) -> None:
        requests.append(status)
        process.send_signal(STOP_SIGNALS[status])

    output = subprocess.DEVNULL if silent else None
    with start_process([command, *overrides], stdout=output) as process, handle_stop_signals(pass_on, insist=pass_on):
        status = process.wait()
    if requests:
        return requests[0]
    return status if status >= 0 else 128 - status  # as a shell reports the end by a signal


def start_process(arguments: Sequence[str], **options: Any) -> "subprocess.Popen[str]":
    """Start ``vitrun`` with these arguments as a process that stops when this one is gone, even if it was killed.

    Args:
        options: Those of ``subprocess.Popen``.
    """
    pipe = open_parent_pipe()
    environment = {**(options.pop("env", None) or os.environ), PARENT_PIPE: str(pipe)}
    return subprocess.Popen([*PROGRAM, *arguments], env=environment, pass_fds=(pipe,), **options)


@cache
def open_parent_pipe() -> int:
    """Return the end to read of a pipe into which nothing is written; it ends when this process does."""
    reader, _ = os.pipe()  # the end to write stays open in this process alone
    return reader


def stop_with_parent() -> None:
    """Let this process get SIGTERM, at which a run saves its state, when the one that started it is gone."""
    descriptor = os.environ.pop(PARENT_PIPE, "")
    if not descriptor.isdecimal():
        return

    def wait_for_end() -> None:
        try:
            while os.read(int(descriptor), 1):
                pass
        except OSError:  # no such descriptor: the variable was set by something else
            return
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_end, name="parent", daemon=True).start()
