"""This process: that it is alone in a folder, and how it is asked to end."""

import fcntl
import os
import platform
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vitrun.errors import ExitCode, UserError

DEBOUNCE_SECONDS = (
    1.0  # seconds in which one request may come by two ways: from its group, and from the sweep that it is a job of
)


@contextmanager
def hold_lock(lock: Path, name: str) -> Iterator[None]:
    """Hold the lock of the run ``name``; a UserError where another process holds it."""
    with open(lock, "ab+", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise UserError(f"{name} is running already ({file.read().decode()}). Wait for it, or stop it.") from None
        with suppress(OSError):  # on a full disk it says nothing, and holds all the same
            file.truncate(0)
            file.write(f"pid {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}".encode())
        yield


@contextmanager
def handle_stop_signals(ask: Callable[[ExitCode], None]) -> Iterator[None]:
    """``ask`` at the first Ctrl-C or SIGTERM, with the exit status for it; a later one ends the process at once."""
    asked: float | None = None

    def hear(number: int, _: Any) -> None:
        nonlocal asked
        status = ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED
        if asked is None:
            asked = time.monotonic()
            ask(status)
        elif time.monotonic() - asked > DEBOUNCE_SECONDS:
            os._exit(status)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
