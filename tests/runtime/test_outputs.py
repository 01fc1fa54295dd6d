"""What a user names to be written never replaces or deletes what vitrun did not write."""

import os
from pathlib import Path

import pytest

from vitrun.errors import ExitCode, UserError
from vitrun.runtime import files, outputs


def write_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / "model.bin").write_text("ours")


def test_only_what_vitrun_wrote_is_replaced_and_only_by_force_unless_it_is_the_same(tmp_path):
    file = tmp_path / "table.csv"
    outputs.check_replaceable(file, "save")
    assert outputs.write_output(file, lambda path: path.write_text("ours"), "save")
    assert not outputs.write_output(file, lambda path: path.write_text("ours"), "save")
    with pytest.raises(UserError, match="save=.*already exists, .*replace it with force=true") as error:
        outputs.write_output(file, lambda path: path.write_text("new"), "save")
    assert error.value.status == ExitCode.COMMAND and file.read_text() == "ours"
    assert outputs.write_output(file, lambda path: path.write_text("new"), "save", force=True)
    file.write_text("edited by the user")
    with pytest.raises(UserError, match="is not what vitrun wrote there"):
        outputs.check_replaceable(file, "save")
    assert sorted(path.name for path in tmp_path.iterdir()) == [outputs.OUTPUTS_FILE, "table.csv"]


@pytest.mark.parametrize("how", ["another file", "edited", "link"])
def test_a_folder_to_which_a_user_added_something_is_not_replaced(tmp_path, how):
    folder = tmp_path / "export"
    outputs.write_output(folder, write_folder, "path")
    outputs.check_replaceable(folder, "path")
    assert not outputs.write_output(folder, write_folder, "path")
    assert sorted(path.name for path in tmp_path.iterdir()) == [outputs.OUTPUTS_FILE, "export"]
    if how == "another file":
        (folder / "notes.txt").write_text("mine")
    elif how == "edited":
        (folder / "model.bin").write_text("mine")
    else:
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is not replaced"):
        outputs.check_replaceable(folder, "path")


def test_a_folder_that_cannot_be_written_anew_stays(tmp_path):
    outputs.write_output(tmp_path / "export", write_folder, "path")

    def fail(folder: Path) -> None:
        write_folder(folder)
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        outputs.write_output(tmp_path / "export", fail, "path")
    assert (tmp_path / "export" / "model.bin").read_text() == "ours" and not list(tmp_path.glob(".tmp-*"))


def test_a_hidden_file_or_folder_of_a_user_is_not_taken_for_a_partial_one(tmp_path):
    mine = tmp_path / f".tmp-a-{os.getpid()}"
    mine.mkdir()
    (mine / "mine.txt").write_text("x")
    with pytest.raises(OSError, match="full"):
        files.write_atomic(tmp_path / "a", lambda path: (_ for _ in ()).throw(OSError("full")))
    files.write_text_atomic(tmp_path / "a", "ours")
    assert (mine / "mine.txt").exists() and (tmp_path / "a").read_text() == "ours"
