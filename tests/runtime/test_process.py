"""Locks of folders."""

import errno
import fcntl
import os

import pytest

from vitrun.errors import UserError
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
