"""Jobs in processes of their own."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from helpers.paths import ROOT
from vitrun.runtime import subprocesses


def test_a_job_does_not_import_modules_of_the_working_folder(monkeypatch, tmp_path):
    (tmp_path / "statistics.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert subprocesses.run_process("compare", ["paper=table8"], silent=True) == 0


def test_ctrl_c_during_a_job_that_still_finishes_is_reported_as_interrupted():
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))  # reaches this process, and not the job
    timer.start()
    assert subprocesses.run_process("models", ["only=vit_nano8"], silent=True) == 130
    timer.join()
    assert subprocesses.run_process("models", ["ony=vit_nano8"], silent=True) == 2


PARENT = """
import sys
from vitrun.runtime import process_pool, subprocesses
JOB = "from vitrun.runtime.subprocesses import stop_with_parent; import os, time;"
JOB += "stop_with_parent(); print(os.getpid(), flush=True); time.sleep(60)"
subprocesses.PROGRAM = (sys.executable, "-c", JOB)
{}
"""
STARTS = {
    "one": "subprocesses.run_process('pretrain', [])",
    "several": "process_pool.run_pool({'': ['a'], ' ': ['b']}, 2, print, print, False)",
}


@pytest.mark.parametrize("start", STARTS)
def test_jobs_stop_when_the_process_that_started_them_is_killed(start):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PARENT.format(STARTS[start])]
    parent = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    numbers = []
    while len(numbers) < (1 if start == "one" else 2):
        numbers += [int(word) for word in parent.stdout.readline().split()]
    assert all(os.path.exists(f"/proc/{number}") for number in numbers)
    parent.kill()
    parent.communicate()  # up to the end of the pipe that the jobs have too
    limit = time.monotonic() + 10
    while any(is_running(number) for number in numbers) and time.monotonic() < limit:
        time.sleep(0.01)
    assert not any(is_running(number) for number in numbers)


def is_running(number: int) -> bool:
    """Return whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
