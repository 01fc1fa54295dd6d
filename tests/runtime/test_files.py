"""Files and folders appear complete or not at all."""

import os
from pathlib import Path

import pytest

from vitrun.runtime import files


def test_a_file_is_replaced_whole_and_no_partial_file_is_left(tmp_path):
    for text in ("one", "two, and longer: é"):
        files.write_text_atomic(tmp_path / "about.json", text)
        assert (tmp_path / "about.json").read_text(encoding="utf-8") == text
    assert [path.name for path in tmp_path.iterdir()] == ["about.json"]


def test_a_pipe_a_device_and_what_is_too_large_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "hole", "wb") as file:
        file.truncate(files.MAX_BYTES + 1)
    problems = {"/dev/zero": "a pipe or a device", tmp_path / "pipe": "a pipe", tmp_path: "a folder"}
    for path, problem in (problems | {tmp_path / "hole": "1,074 MB"}).items():
        with pytest.raises(ValueError, match=problem):
            files.read_regular_file(Path(path))
    assert files.read_regular_file(Path("/proc/self/status")) == b"", "its size says that there is nothing"


@pytest.mark.parametrize("folder", [False, True])
def test_a_failed_write_leaves_the_old_content(tmp_path, folder):
    def write(partial, text="new"):
        if folder:
            partial.mkdir()
        (partial / "file" if folder else partial).write_text(text)
        if text == "new":
            raise OSError("disk full")

    def content():
        return {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}

    with pytest.raises(OSError, match="disk full"):
        files.write_atomic(tmp_path / "result", write)
    assert content() == {}
    files.write_atomic(tmp_path / "result", lambda partial: write(partial, "old"))
    before = content()
    with pytest.raises(OSError, match="disk full"):
        files.write_atomic(tmp_path / "result", write)
    assert content() == before and len(before) == 1
