"""Fixtures of the tests of the command line."""

import os
import subprocess
import sys

import pytest

from helpers.paths import ROOT

# What the installed `vitrun` runs, so that these tests need no installation.
SCRIPT = "import sys; sys.argv[0] = 'vitrun'; from vitrun.cli.app import app; app()"


@pytest.fixture
def vitrun(tmp_path):
    """Run ``python -m vitrun`` in an empty folder."""

    def vitrun(*arguments: str, script: bool = False, **environment: str) -> subprocess.CompletedProcess:
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        settings = os.environ | {"PYTHONPATH": paths, "COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
        start = [sys.executable, *(["-c", SCRIPT] if script else ["-m", "vitrun"])]
        return subprocess.run(
            [*start, *arguments], cwd=tmp_path, env=settings | environment, capture_output=True, text=True
        )

    return vitrun
