"""Files and folders appear complete or not at all."""

import pytest

from vitrun.runtime import files


def test_a_file_is_replaced_whole_and_no_partial_file_is_left(tmp_path):
    for text in ("one", "two, and longer: é"):
        files.write_text_atomic(tmp_path / "about.json", text)
        assert (tmp_path / "about.json").read_text(encoding="utf-8") == text
    assert [path.name for path in tmp_path.iterdir()] == ["about.json"]


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
