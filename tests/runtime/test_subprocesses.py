"""Jobs that run as processes of their own."""

import os
import signal
import threading

from vitrun.runtime import subprocesses


def test_a_module_in_the_folder_at_hand_is_not_run_by_a_job(monkeypatch, tmp_path):
    (tmp_path / "statistics.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert subprocesses.run_process("compare", [], silent=True) == 0


def test_ctrl_c_that_comes_too_late_for_a_job_ends_what_follows():
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))  # reaches this process, and not the job
    timer.start()
    assert subprocesses.run_process("models", ["only=vit_nano8"], silent=True) == 130
    timer.join()
    assert subprocesses.run_process("models", ["ony=vit_nano8"], silent=True) == 2
