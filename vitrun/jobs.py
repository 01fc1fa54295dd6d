"""Other processes of vitrun, one at a time: the jobs of a sweep, and the tasks of a suite."""

import signal
import subprocess
import sys
from collections.abc import Sequence

from vitrun.mistakes import Exit

STOPPED = (Exit.INTERRUPTED, Exit.TERMINATED)  # of a job that saved what it had, as it was asked to


def carry_out(verb: str, words: Sequence[str], silent: bool = False) -> int:
    """The exit status of ``vitrun <verb>`` with ``words``, waited for while it saves; silent without its output.

    Ctrl-C reaches it anyway, SIGTERM is passed on.
    """
    output = subprocess.DEVNULL if silent else None
    with subprocess.Popen([sys.executable, "-m", "vitrun", verb, *words], stdout=output) as process:
        hear = {signal.SIGINT: lambda *_: None, signal.SIGTERM: lambda number, _: process.send_signal(number)}
        before = {number: signal.signal(number, handler) for number, handler in hear.items()}
        try:
            status = process.wait()
            return status if status >= 0 else 128 - status  # as a shell counts the end by a signal
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
