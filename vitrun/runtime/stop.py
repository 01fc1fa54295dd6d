"""Signals that ask this process to stop: Interrupted in the main thread, wherever that is, unless it is deferred.

A handler of Python runs between two instructions of the main thread, and interrupts what waits: a socket, a lock, a
sleep. Inside a long call of a library written in C, such as a matrix decomposition, it does not; there a thread ends
the process, as the handler does while a module is imported. So nothing that takes long has to look for a request. What
must not be cut, as a checkpoint or a step of several ranks, is in :func:`defer_stop`.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from vitrun.errors import ExitCode, Interrupted

WARNING_SIGNALS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
STOP_CODES = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)  # of a process that a signal stopped, with its state saved
DEBOUNCE_SECONDS = 1.0  # one request may arrive twice: for the process group, and passed on by a parent process
HEARD_SECONDS = 0.5  # in which a handler of Python runs, unless the main thread is inside a call of C
Handler = Callable[[ExitCode], None]


@dataclass
class StopState:
    """What the handlers, the main thread and the thread that watches them know of each other."""

    deferrals: int = 0  # nested ones
    pending: ExitCode | None = None  # the request that is deferred
    handled: int = 0  # signals
    end: Handler | None = None  # ends the process of a command; None in a Python program, which is not ours to end


STATE = StopState()


def interrupt(status: ExitCode) -> None:
    """Raise Interrupted in a handler of signals; inside :func:`defer_stop` let its end raise it."""
    if not STATE.deferrals:
        raise Interrupted(status)
    STATE.pending = status


@contextmanager
def defer_stop() -> Iterator[None]:
    """Complete the body before a signal raises Interrupted; a thread other than the main one is never interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if not STATE.deferrals:
        STATE.pending = None
    STATE.deferrals += 1  # from here on a handler does not raise
    try:
        yield
    finally:
        STATE.deferrals -= 1
    if not STATE.deferrals and STATE.pending is not None:
        raise Interrupted(STATE.pending)


def raise_if_pending() -> None:
    """Raise the Interrupted that is deferred: this is a point where the body of :func:`defer_stop` may end."""
    if STATE.pending is not None:
        raise Interrupted(STATE.pending)


@contextmanager
def handle_stop_signals(request: Handler = interrupt, insist: Handler = os._exit) -> Iterator[None]:
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

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal first
        STATE.handled += 1
        if STATE.end and not STATE.deferrals and is_importing(frame):
            STATE.end(exit_code(number))
        elif number in WARNING_SIGNALS:
            drop_closed_terminals(terminals)
            request(exit_code(number))
        elif first is None:
            first = time.monotonic()
            request(exit_code(number))
        elif time.monotonic() - first > DEBOUNCE_SECONDS:
            insist(exit_code(number))

    warnings = [number for number in WARNING_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM, *warnings)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def is_importing(frame: FrameType | None) -> bool:
    """Return whether a module is being imported: some swallow exceptions, and try again what cannot be done twice."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def exit_code(number: int) -> ExitCode:
    """Return the exit code of a process that a signal has stopped."""
    return ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED


def drop_closed_terminals(descriptors: Sequence[int]) -> None:
    """Let those that were terminals, but are closed, lead nowhere: a line that cannot be printed must not end a run."""
    for descriptor in descriptors:
        if not os.isatty(descriptor):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


@contextmanager
def watch_handlers(insist: Handler) -> Iterator[None]:
    """Call ``insist`` if the handler of a signal does not run, if a deferred one is repeated, or during an import."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)  # Python writes each signal there at once
    STATE.handled, STATE.end = 0, insist
    threading.Thread(target=watch, args=(reader, insist), name="signals", daemon=True).start()
    try:
        yield
    finally:
        STATE.end = None
        signal.set_wakeup_fd(previous)
        os.close(writer)  # which ends the thread


def watch(reader: int, insist: Handler) -> None:
    """Read the numbers of signals, and call ``insist`` for one that no handler has heard of."""
    arrived, first = 0, time.monotonic()
    while number := os.read(reader, 1):
        arrived += 1
        first = time.monotonic() if arrived == 1 else first
        limit = time.monotonic() + HEARD_SECONDS
        while STATE.handled < arrived and time.monotonic() < limit:
            time.sleep(HEARD_SECONDS / 10)
        again = number[0] not in WARNING_SIGNALS and time.monotonic() - first > DEBOUNCE_SECONDS + HEARD_SECONDS
        if STATE.handled < arrived and (again or not STATE.deferrals):
            insist(exit_code(number[0]))
    os.close(reader)


def end_process(status: int, line: str = "Stopped.") -> None:
    """Print a line on standard error and end the process at once, whatever its threads are doing."""
    with suppress(Exception):  # a full disk under them
        sys.stdout.flush()
    with suppress(OSError):
        os.write(2, f"{line}\n".encode() if line else b"")
    os._exit(status)
