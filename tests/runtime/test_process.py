"""Locks of folders, and signals that ask a process to stop."""

import errno
import fcntl
import os
import pty
import signal

import pytest

from vitrun.errors import ExitCode, UserError
from vitrun.runtime import process


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_disk_without_locks_is_named_and_the_run_goes_on(tmp_path, monkeypatch, code):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", fail)
    lines = []
    with process.hold_lock(tmp_path / "lock", "run", lines.append):
        (line,) = lines
    assert os.strerror(code) in line and str(tmp_path) in line
    with open(tmp_path / "part", "wb") as file:
        assert process.lock_file(file, wait=True) == os.strerror(code)


def test_a_lock_that_another_process_holds_is_refused_with_that_process(tmp_path):
    lock = tmp_path / "lock"
    with (
        process.hold_lock(lock, "first", pytest.fail),
        pytest.raises(UserError, match=f"already running .pid {os.getpid()} on "),
        process.hold_lock(lock, "first", pytest.fail),
    ):
        pass
    lock.write_bytes(b"\xff")
    with process.hold_lock(lock, "first", pytest.fail), open(lock, "r+b") as file:
        file.truncate()
        with pytest.raises(UserError, match="not named"), process.hold_lock(lock, "first", pytest.fail):
            pass


def test_signals_that_precede_a_time_limit_ask_to_stop_and_never_insist():
    requests, insisted = [], []
    with process.handle_stop_signals(requests.append, insisted.append):
        for number in process.WARNING_SIGNALS:
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
    assert requests == [ExitCode.TERMINATED] * 4 and not insisted


def test_a_signal_that_is_ignored_as_under_nohup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with process.handle_stop_signals(pytest.fail):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_closes_takes_no_line_and_ends_no_run():
    controller, terminal = pty.openpty()
    process.drop_closed_terminals([terminal])
    assert os.isatty(terminal)
    os.close(controller)
    with pytest.raises(OSError):
        os.write(terminal, b"line")
    process.drop_closed_terminals([terminal])
    assert os.write(terminal, b"line") == 4
    os.close(terminal)
