"""``vitrun`` and ``python -m vitrun``."""

import os
import shlex
import signal
import sys
from collections.abc import Sequence
from functools import partial

if (
    __name__ == "__main__" and not sys.flags.safe_path
):  # else a folder here with the name of a package would be imported in its place
    del sys.path[0]


def end_early(number: int, _: object) -> None:
    """End the process while it imports: nothing has been written yet, and an import may swallow exceptions."""
    os.write(2, b"Stopped.\n")
    os._exit(128 + number)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a signal ends it with one line and the exit code of the signal."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end_early)
    from vitrun.cli.app import app
    from vitrun.runtime import stop

    again = f"Stopped. To continue: vitrun {shlex.join(sys.argv[1:] if arguments is None else arguments)}".rstrip()
    with stop.watch_handlers(partial(stop.end_process, line=again)):
        try:
            with stop.handle_stop_signals():
                app(arguments, prog_name="vitrun")
        except stop.Interrupted as interrupt:
            stop.end_process(interrupt.status)
        except SystemExit as end:
            if end.code in stop.STOP_CODES:  # without waiting for threads
                stop.end_process(end.code, "")
            raise


if __name__ == "__main__":
    main()
