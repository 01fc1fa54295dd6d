"""Jobs in processes of their own."""

import os
import signal
import threading

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
