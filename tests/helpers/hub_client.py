"""A process that opens data sets of a Hub on this machine, as vitrun does."""

import json
import os
import subprocess
import sys
from pathlib import Path

from helpers.paths import ROOT
from helpers.small_hub import COMMIT
from vitrun.errors import ExitCode

TEST_FILE = "plain/test-00000-of-00001.parquet"  # in a data set of two splits
TRAIN_FILES = [f"plain/train-{n:05d}-of-00002.parquet" for n in range(2)]
# The Hub's client reads its environment when it is imported: one process for all tests, which opens split after split.
CLIENT = """
import json, sys, time
from vitrun import data
from vitrun.config import resolve
from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.runtime.console import Screen

sleep = time.sleep
time.sleep = lambda seconds: sleep(seconds / 10)  # a retry waits seconds

for line in sys.stdin:
    overrides, part, ticks = json.loads(line)
    def tick():
        global ticks
        ticks -= 1
        if ticks == 0:
            raise Interrupted(ExitCode.INTERRUPTED)
    try:
        split = data.open_split(resolve.resolve_recipe("pretrain", overrides).data, part, Screen(quiet=True), tick)
        result = {"labels": split.labels.tolist(), "classes": split.classes}
    except UserError as error:
        result = {"error": str(error), "status": error.status}
    except Interrupted as interrupted:
        result = {"interrupted": interrupted.status}
    print(json.dumps(result), flush=True)
"""


def client_environment(home: Path, endpoint: str, **more: str) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    ours = {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "NO_PROXY": "*", "OMP_NUM_THREADS": "1"}
    ours |= {"HF_HUB_VERBOSITY": "error"}  # as the command line sets it
    return inherited | ours | {"PYTHONPATH": paths} | more


class Client:
    """A process that opens splits, with its standard error."""

    def __init__(self, home: Path, endpoint: str, **more: str):
        self.home, self.errors = home, home / f"stderr-{len(more)}"
        home.mkdir(exist_ok=True)
        with open(self.errors, "a") as errors:  # so that it can be truncated between calls
            self.process = subprocess.Popen(
                [sys.executable, "-c", CLIENT],
                env=client_environment(home, endpoint, **more),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def open_split(self, name: str, part: str = "test", *overrides: str, ticks: int = 0) -> dict:
        """Open a part of a data set of the Hub; return its labels and classes, or the error."""
        os.truncate(self.errors, 0)
        required = {"data": "folder", "data.hub": f"vit/{name}", "data.revision": COMMIT, "data.config": "plain"}
        options = required | dict(override.split("=") for override in overrides)
        overrides = [f"{key}={value}" for key, value in options.items()]
        self.process.stdin.write(json.dumps([overrides, part, ticks]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def expect_data_error(self, name: str, *overrides: str, part: str = "test") -> str:
        """Return the message with which opening fails; assert that its exit code is that of data."""
        result = self.open_split(name, part, *overrides)
        assert result["status"] == ExitCode.DATA
        return result["error"]

    def read_stderr(self) -> str:
        return self.errors.read_text()

    def cache_folder(self, name: str) -> Path:
        return self.home / "hub" / f"datasets--vit--{name}"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
