"""quickstart, interrupted."""

import signal
import time

from helpers.processes import launch
from vitrun.errors import ExitCode


def test_quickstart_stops_with_one_sentence(tmp_path):
    process = launch(tmp_path, command="quickstart")
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not list(tmp_path.glob("*/about.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output = process.communicate()[0]
    assert process.returncode == ExitCode.TERMINATED and "Traceback" not in output
    assert output.splitlines()[-1].startswith("Stopped. To continue: vitrun quickstart runs=")
