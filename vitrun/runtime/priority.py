"""Priority of a thread that works beside training, on Linux, where threads have one each."""

import os
import sys
from contextlib import suppress
from threading import get_native_id

NICENESS = 10  # added to that of the process: a tenth of a core if all cores are busy, and more if any is idle


def lower_priority() -> int:
    """Let the calling thread use mostly time of the processor that no other thread needs; return its id."""
    thread = get_native_id()
    set_niceness(thread, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    return thread


def restore_priority(thread: int) -> None:
    """Give a thread the priority of this process again, where the system allows that (to root, as a rule)."""
    set_niceness(thread, os.getpriority(os.PRIO_PROCESS, os.getpid()))


def set_niceness(thread: int, niceness: int) -> None:
    """Set the niceness of a thread; do nothing where that is refused."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
