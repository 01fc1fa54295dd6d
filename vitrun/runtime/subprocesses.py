"""``vitrun`` commands in processes of their own."""

import signal
import subprocess
import sys
from collections.abc import Sequence

from vitrun.errors import ExitCode
from vitrun.runtime.process import handle_stop_signals

STOP_CODES = (
    ExitCode.INTERRUPTED,
    ExitCode.TERMINATED,
)  # of a process that a signal stopped, with its state saved


def run_process(command: str, overrides: Sequence[str], silent: bool = False) -> int:
    """Run ``vitrun <command> <overrides>`` and return its exit code; ``silent`` drops its standard output.

    On Ctrl-C, which reaches both processes, or SIGTERM, which is passed on, wait until the process has saved its state
    and return ``STOP_CODES``'s code, even if the process had just finished: the caller is to stop as well.
    """
    requests: list[ExitCode] = []

    def pass_on(status: ExitCode) -> None:
        requests.append(status)
        if status == ExitCode.TERMINATED:
            process.send_signal(signal.SIGTERM)

    output = subprocess.DEVNULL if silent else None
    arguments = [sys.executable, "-P", "-m", "vitrun", command, *overrides]
    with subprocess.Popen(arguments, stdout=output) as process, handle_stop_signals(pass_on, insist=pass_on):
        status = process.wait()
    if requests:
        return requests[0]
    return status if status >= 0 else 128 - status  # as a shell reports the end by a signal
