"""quickstart, interrupted."""

import os
import signal
import time

from helpers.processes import CommandProcess
from vitrun.errors import ExitCode


def test_quickstart_stops_with_one_sentence(tmp_path):
    process = CommandProcess("quickstart", f"runs={tmp_path}")
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not list(tmp_path.glob("*/about.json")):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    output = process.wait()
    assert process.returncode == ExitCode.TERMINATED and "Traceback" not in output
    assert output.splitlines()[-1].startswith("Stopped. To continue: vitrun quickstart runs=")
