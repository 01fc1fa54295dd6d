"""Lock of a folder, and signals that ask this process to stop."""

import fcntl
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vitrun.errors import ExitCode, UserError

DEBOUNCE_SECONDS = 1.0  # one request may arrive twice: for the process group, and passed on by a parent process


@contextmanager
def hold_lock(lock: Path, name: str) -> Iterator[None]:
    """Hold the lock file of the run ``name``; raise UserError if another process holds it."""
    with open(lock, "ab+", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = file.read().decode()
            raise UserError(f"{name} is already running ({owner}). Wait until it ends, or stop it.") from None
        with suppress(OSError):  # on a full disk the lock works without a text
            file.truncate(0)
            file.write(f"pid {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}".encode())
        yield


@contextmanager
def handle_stop_signals(
    request: Callable[[ExitCode], None], insist: Callable[[ExitCode], None] = os._exit
) -> Iterator[None]:
    """Call ``request`` with the exit code on the first SIGINT or SIGTERM, and ``insist`` on each later one.

    By default a second signal ends the process at once. Signals within ``DEBOUNCE_SECONDS`` of the first count as one.
    A thread of a Python program cannot have handlers: signals then do what they do in that program.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: float | None = None

    def on_signal(number: int, _: object) -> None:
        nonlocal first
        status = ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED
        if first is None:
            first = time.monotonic()
            request(status)
        elif time.monotonic() - first > DEBOUNCE_SECONDS:
            insist(status)

    handlers = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
