"""What a user names to be written never replaces or deletes what vitrun did not write."""

import os
from concurrent.futures import ThreadPoolExecutor
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


@pytest.mark.parametrize("content", ["my notes", "[]", "{}", '{"a": {"b": 1}}', '{"a.csv": "x"}', None])
def test_a_file_of_a_user_in_place_of_the_record_is_refused_and_stays(tmp_path, content):
    mine = tmp_path / outputs.OUTPUTS_FILE
    mine.symlink_to("gone") if content is None else mine.write_text(content)
    write = (
        lambda: outputs.check_replaceable(tmp_path / "a", "save"),
        lambda: outputs.write_output(tmp_path / "a", lambda path: path.write_text("ours"), "save", force=True),
    )
    for action in write:
        with pytest.raises(UserError, match=f"{outputs.OUTPUTS_FILE} is not the list .*: move it away"):
            action()
    assert [path.name for path in tmp_path.iterdir()] == [outputs.OUTPUTS_FILE]
    assert content is None or mine.read_text() == content


def test_what_has_no_record_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "hash_output", lambda path: pytest.fail("it may be a whole disk"))
    (tmp_path / "large").mkdir()
    with pytest.raises(UserError, match="is not what vitrun wrote there"):
        outputs.check_replaceable(tmp_path / "large", "path")


@pytest.mark.parametrize("before", ["", "ours"])
def test_an_output_of_a_process_that_is_killed_as_it_writes_is_written_by_the_same_command(
    tmp_path, monkeypatch, before
):
    file, replace = tmp_path / "a", outputs.replace_output

    def write_new() -> bool:
        return outputs.write_output(file, lambda path: path.write_text("new"), "save", force=True)

    for killed in ("before", "after"):
        file.unlink(missing_ok=True)
        if before:
            outputs.write_output(file, lambda path: path.write_text(before), "save", force=True)

        def stop(partial: Path, path: Path, killed: str = killed) -> None:
            if killed == "after":
                replace(partial, path)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(outputs, "replace_output", stop)
            write_new()
        write_new()
        assert file.read_text() == "new" and outputs.is_own(file)


def test_what_appears_while_an_output_is_written_is_not_replaced(tmp_path):
    file = tmp_path / "a"

    def write(partial: Path) -> None:
        partial.write_text("ours")
        file.write_text("mine")

    with pytest.raises(UserError, match="is not replaced"):
        outputs.write_output(file, write, "save", force=True)
    assert file.read_text() == "mine" and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_outputs_that_are_written_at_once_are_all_recorded(tmp_path):
    files_ = [tmp_path / str(number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda file: outputs.write_output(file, lambda path: path.write_text("x"), "save"), files_))
    assert all(map(outputs.is_own, files_))
