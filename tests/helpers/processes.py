"""Start commands as processes, stop them, and read how they ended."""

import os
import subprocess
import sys
import time

from helpers.overrides import TINY


def error_line(done: subprocess.CompletedProcess, status: int) -> str:
    """Return the one line on standard error with which a command ended."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


RUN = [*TINY, "steps=40", "warmup=4", "ema=0.9", "save_minutes=0", "model.dropout=0.1"]


def launch(folder, *more: str, command: str = "pretrain") -> subprocess.Popen:
    """Start a command in a process group of its own, as a shell does."""
    overrides = [w for w in RUN if w not in ("steps=6", "warmup=2")] if command == "pretrain" else []
    arguments = [sys.executable, "-m", "vitrun", command, *overrides, *more, f"runs={folder}"]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def stop_after(process, folder, steps: int, number: int, send=os.kill) -> str:
    """Send a signal once that many steps are saved; return the output."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not [p for p in folder.glob("*/checkpoints/step-*") if int(p.name[5:]) >= steps]:
        time.sleep(0.01)
    send(process.pid, number)
    return process.communicate()[0]
