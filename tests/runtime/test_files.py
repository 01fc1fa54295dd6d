"""Files are replaced whole."""

from vitrun.runtime import files


def test_a_file_is_replaced_whole_and_nothing_is_left_aside(tmp_path):
    for text in ("one", "two, and longer: é"):
        files.write_atomic(tmp_path / "about.json", text)
        assert (tmp_path / "about.json").read_text(encoding="utf-8") == text
    assert [path.name for path in tmp_path.iterdir()] == ["about.json"]
