"""Fixtures of the tests of the command line."""

import os
import subprocess
import sys

import pytest

from helpers.paths import ROOT
from helpers.processes import CommandProcess

TERMINAL = {"COLUMNS": "200", "NO_COLOR": "1"}


@pytest.fixture
def vitrun(tmp_path):
    """Run a command of ``vitrun`` in an empty folder, in a forked process; return the process at its end."""

    def vitrun(*arguments: str, **environment: str) -> CommandProcess:
        process = CommandProcess(*arguments, folder=tmp_path, environment=os.environ | TERMINAL | environment)
        process.wait()
        return process

    return vitrun


@pytest.fixture
def python_m_vitrun(tmp_path):
    """Run ``python -m vitrun`` in an empty folder, in a new interpreter."""

    def python_m_vitrun(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))  # an empty one is the folder
        return subprocess.run(
            [sys.executable, "-m", "vitrun", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": paths} | TERMINAL | environment,
            capture_output=True,
            text=True,
        )

    return python_m_vitrun
