"""Lock of a folder."""

import errno
import fcntl
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from vitrun.errors import UserError

LOCKED_ERRORS = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # any other means that there are no locks
FOLDER_SECONDS = 10.0  # how long to wait for the lock of a folder, which others hold for moments


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
