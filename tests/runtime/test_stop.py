"""Signals that ask a process to stop: heard anywhere, but for what must not be cut."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from helpers.paths import ROOT
from helpers.processes import CommandProcess, read_error_line
from vitrun.errors import ExitCode, Interrupted
from vitrun.runtime import stop

IN_C = """
import hashlib, os, signal, threading
from vitrun.runtime import stop
with stop.watch_handlers(stop.end_process), stop.handle_stop_signals():
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""


def test_a_signal_interrupts_what_waits_and_no_handler_of_exceptions_hides_it():
    with stop.handle_stop_signals(), pytest.raises(Interrupted) as stopped:
        try:
            signal.raise_signal(signal.SIGTERM)
            time.sleep(60)
        except Exception:
            pytest.fail("hidden")
    assert stopped.value.status == ExitCode.TERMINATED


def test_what_must_not_be_cut_is_completed_first():
    done = []
    with stop.handle_stop_signals(), pytest.raises(Interrupted), stop.defer_stop():
        with stop.defer_stop():
            signal.raise_signal(signal.SIGINT)
            done.append(1)
        done.append(2)
        with pytest.raises(Interrupted):
            stop.raise_if_pending()
    assert done == [1, 2]
    with stop.defer_stop():
        stop.raise_if_pending()


def test_a_long_call_of_a_library_does_not_keep_a_process_from_stopping():
    done = subprocess.run([sys.executable, "-c", IN_C], cwd=ROOT, text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (ExitCode.TERMINATED, "Stopped.\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_heard_while_images_are_drawn(tmp_path, number):
    drawn = ["data=shapes", "data.size=512", "data.train_images=20000", f"runs={tmp_path}"]
    process = CommandProcess("pretrain", "model=vit_nano8", *drawn)
    while not list(tmp_path.glob("*/log.txt")):
        time.sleep(0.02)
    os.kill(process.pid, number)
    process.wait()
    line = read_error_line(process, 128 + number)
    assert line.startswith("Stopped. To continue: vitrun pretrain model=vit_nano8")


def test_signals_that_precede_a_time_limit_ask_to_stop_and_never_insist():
    requests, insisted = [], []
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup, which ignores it
    try:
        with stop.handle_stop_signals(requests.append, insisted.append):
            for number in stop.WARNING_SIGNALS:
                signal.raise_signal(number)
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert requests == [ExitCode.TERMINATED] * 4 and not insisted


def test_a_signal_that_is_ignored_as_under_nohup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop.handle_stop_signals(pytest.fail):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_closes_takes_no_line_and_ends_no_run():
    controller, terminal = pty.openpty()
    stop.drop_closed_terminals([terminal])
    assert os.isatty(terminal)
    os.close(controller)
    with pytest.raises(OSError):
        os.write(terminal, b"line")
    stop.drop_closed_terminals([terminal])
    assert os.write(terminal, b"line") == 4
    os.close(terminal)


IN_AN_IMPORT = """
import sys
from vitrun.__main__ import main
import vitrun.cli.app
class Finder:
    def find_spec(name, *_):
        if name == "endless":
            from importlib.machinery import ModuleSpec
            return ModuleSpec(name, Finder)
    def create_module(spec):
        return None
    def exec_module(module):
        import os, signal, time
        try:
            signal.raise_signal(signal.SIGINT)
            time.sleep(60)
        except BaseException:
            print("swallowed")
sys.meta_path.append(Finder)
vitrun.cli.app.app = lambda *_, **__: __import__("endless")
main(["models", "data.name=a b"])
"""


def test_a_module_that_swallows_exceptions_does_not_keep_a_process_from_stopping():
    done = subprocess.run([sys.executable, "-c", IN_AN_IMPORT], cwd=ROOT, text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (ExitCode.INTERRUPTED, "")
    assert done.stderr == "Stopped. To continue: vitrun models 'data.name=a b'\n"
