"""Other processes of vitrun, one at a time: the jobs of a sweep, and the tasks of a suite."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from vitrun.errors import ExitCode

STOP_CODES = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)  # of a job that saved what it had, as it was asked to


def run_command(command: str, overrides: Sequence[str], silent: bool = False) -> int:
    """The exit status of ``vitrun <command>`` with ``overrides``, waited for while it saves; silent without its output.

    Ctrl-C reaches it anyway, SIGTERM is passed on. Where it comes too late for this job, it counts for what follows.
    """
    asked: list[int] = []

    def hear(number: int, _: Any) -> None:
        asked.append(ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED)
        if number == signal.SIGTERM:
            process.send_signal(number)

    output = subprocess.DEVNULL if silent else None
    with subprocess.Popen([sys.executable, "-P", "-m", "vitrun", command, *overrides], stdout=output) as process:
        before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            status = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return asked[0] if asked else status if status >= 0 else 128 - status  # as a shell counts the end by a signal
