"""Lock of a folder, and signals that ask this process to stop."""

import errno
import fcntl
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from vitrun.errors import ExitCode, UserError

WARNING_SIGNALS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
LOCKED_ERRORS = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # any other means that there are no locks
FOLDER_SECONDS = 10.0  # how long to wait for the lock of a folder, which others hold for moments
DEBOUNCE_SECONDS = 1.0  # one request may arrive twice: for the process group, and passed on by a parent process


def lock_file(file: IO[bytes], wait: bool = False) -> str | None:
    """Lock a file against other processes, until it is closed; return why its disk cannot, None if it can.

    Lustre without ``-o flock`` has no locks (ENOSYS), nor has NFS without its lock service (ENOLCK). Raise
    OSError if another process holds the lock, unless this one is to ``wait``.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in LOCKED_ERRORS:
            raise
        return error.strerror
    return None


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder while something short is done in it, if its disk has locks."""
    with open_folder(folder) as descriptor:
        if descriptor is not None:
            wait_for_lock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def share_folder(folder: Path, tidy: Callable[[], None]) -> Iterator[None]:
    """Share the lock of a folder with others while a file is written into it; ``tidy`` it first if no other writes."""
    with open_folder(folder) as descriptor:
        if descriptor is not None:
            with suppress(OSError):  # others write, or there are no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                tidy()
            wait_for_lock(descriptor, fcntl.LOCK_SH)
        yield


@contextmanager
def open_folder(folder: Path) -> Iterator[int | None]:
    """Open a folder; yield its descriptor, or None if that fails, as writing into it will report."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def wait_for_lock(descriptor: int, kind: int) -> None:
    """Lock an open folder until it is closed; continue without the lock after ``FOLDER_SECONDS``."""
    limit = time.monotonic() + FOLDER_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in LOCKED_ERRORS or time.monotonic() > limit:
                return None
        time.sleep(0.02)


@contextmanager
def hold_lock(lock: Path, name: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file of the run ``name``; raise UserError if another process holds it, warn if there are no locks.

    Raise OSError if the file cannot be written.
    """
    with open(lock, "ab+", buffering=0) as file:
        try:
            problem = lock_file(file)
        except OSError:
            file.seek(0)
            owner = file.read().decode(errors="replace").strip() or "its process is not named in its lock file"
            raise UserError(f"{name} is already running ({owner}). Wait until it ends, or stop it.") from None
        if problem:
            warn(
                f"The disk of {lock.parent} cannot lock files ({problem}): nothing stops a second process from writing "
                "to this run at the same time."
            )
        with suppress(OSError):  # on a full disk the lock works without a text
            file.truncate(0)
            file.write(f"pid {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}".encode())
        yield


@contextmanager
def handle_stop_signals(
    request: Callable[[ExitCode], None], insist: Callable[[ExitCode], None] = os._exit
) -> Iterator[None]:
    """Call ``request`` with the exit code when a signal asks to stop, and ``insist`` when one does so again.

    SIGINT has an exit code of its own. SIGUSR1 and SIGUSR2, which batch systems send before the time limit, and SIGHUP,
    which a terminal sends as it closes, are requests only, unless they are ignored, as ``nohup`` ignores SIGHUP.
    By default a second SIGINT or SIGTERM ends the process at once; those within ``DEBOUNCE_SECONDS`` count as one.
    A thread of a Python program cannot have handlers: signals then do what they do in that program.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: float | None = None
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]

    def on_signal(number: int, _: object) -> None:
        nonlocal first
        status = ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED
        if number in WARNING_SIGNALS:
            drop_closed_terminals(terminals)
            request(status)
        elif first is None:
            first = time.monotonic()
            request(status)
        elif time.monotonic() - first > DEBOUNCE_SECONDS:
            insist(status)

    warnings = [number for number in WARNING_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM, *warnings)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def drop_closed_terminals(descriptors: Sequence[int]) -> None:
    """Let those that were terminals, but are closed, lead nowhere: a line that cannot be printed must not end a run."""
    for descriptor in descriptors:
        if not os.isatty(descriptor):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
