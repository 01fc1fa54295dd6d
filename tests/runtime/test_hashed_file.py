"""Files that are hashed while they are written, on disks with direct writing, without it, and that refuse it late."""

import fcntl
import os
from errno import EINVAL, ENOSPC

import pytest
from blake3 import blake3

from vitrun.runtime import hashed_file
from vitrun.runtime.hashed_file import HashedFile

BLOCK = 2**14
PIECES = ((), (0,), (1,), (BLOCK,), (BLOCK, 1), (5, BLOCK - 5, 4096), (3 * BLOCK + 4097, 7, 0, 4089, 2))
OPEN, WRITE = os.open, os.write


def is_direct(handle: int) -> bool:
    return bool(fcntl.fcntl(handle, fcntl.F_GETFL) & hashed_file.DIRECT)


def open_indirect(path, options, *mode):
    if options & hashed_file.DIRECT:
        raise OSError(EINVAL, "no")
    return OPEN(path, options, *mode)


def write_indirect(handle, content):
    if is_direct(handle):
        raise OSError(EINVAL, "no")
    return WRITE(handle, content)


def write_some(handle, content):
    assert not is_direct(handle) or len(content) % 4096 == 0
    return WRITE(handle, content[: max(4096, len(content) // 2)])


@pytest.mark.parametrize("function", [OPEN, open_indirect, write_indirect, write_some])
def test_a_file_has_the_bytes_written_and_their_hash_on_any_disk(tmp_path, monkeypatch, function):
    monkeypatch.setattr(hashed_file, "BLOCK", BLOCK)
    monkeypatch.setattr(os, "open" if "open" in function.__name__ else "write", function)
    for sizes in PIECES:
        pieces = [os.urandom(size) for size in sizes]
        with HashedFile(tmp_path / "file") as file:
            for piece in pieces:
                file.write(piece)
        content = (tmp_path / "file").read_bytes()
        assert content == b"".join(pieces) and file.hexdigest() == blake3(content).hexdigest()


def test_a_full_disk_is_an_error_and_the_file_is_closed(tmp_path, monkeypatch):
    def write(handle, content):
        raise OSError(ENOSPC, "no room")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="no room"), HashedFile(tmp_path / "file") as file:
        file.write(b"x")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.handle)
