"""The paths in which the files of an archive are searched."""

import pytest

from helpers.vtab_files import write_file
from vitrun.data.sources.vtab.originals.archive import Archive
from vitrun.errors import UserError


def test_the_error_for_a_missing_file_lists_every_path_that_was_tried(tmp_path):
    published = Archive("thing", "a.txt", "https://example.org", archives=("inner",), account="none")
    with pytest.raises(UserError, match=f"no {tmp_path}/a.txt or {tmp_path}/inner/a.txt; found in {tmp_path}: nothing"):
        published.find(tmp_path, "a.txt")
    write_file(tmp_path / "inner" / "a.txt", "")
    assert published.find(tmp_path, "a.txt") == tmp_path / "inner" / "a.txt"
