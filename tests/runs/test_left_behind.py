"""What is in a run folder and does not belong there: partial files of killed processes, and names of another kind."""

import os
from multiprocessing import get_context

import pytest

from helpers.overrides import TINY
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.probes import feature_cache
from vitrun.runs import execution, run
from vitrun.runs.checkpoint_writer import Save
from vitrun.runtime.console import Screen
from vitrun.runtime.files import write_atomic
from vitrun.runtime.process import hold_lock, share_folder

FORK = get_context("fork")
ANOTHERS = (".tmp-notes", ".tmp-my.json-notes", ".tmp-result.json", ".tmp-5f.safetensors-1", "result.json-1")


def open_run(tmp_path) -> run.Run:
    """Return a run that has not started."""
    recipe = resolve.resolve_recipe("pretrain", [*TINY, f"runs={tmp_path}"])
    return run.Run("pretrain", recipe, Screen(quiet=True))


def kill_while_writing(write, path) -> None:
    """Write ``path`` in a process that is killed in the middle."""
    child = FORK.Process(target=write, args=(path,))
    child.start()
    child.join()
    assert child.exitcode == -9


def write_half(path) -> None:
    """Begin a file, then kill this process."""
    write_atomic(path, lambda partial: partial.write_bytes(b"half") and os.kill(os.getpid(), 9))


def test_partial_files_of_a_killed_process_are_removed_by_the_next_that_has_the_lock(tmp_path):
    one = open_run(tmp_path)
    (one.folder / "checkpoints").mkdir(parents=True)
    for name in ANOTHERS:
        (one.folder / name).touch()
    before = {*one.folder.rglob("*")}
    for name in ("recipe.yaml", "about.json", "result.json", "preds.parquet", "checkpoints/LATEST"):
        kill_while_writing(write_half, one.folder / name)
    assert len({*one.folder.rglob("*")}) == len(before) + 5
    with hold_lock(one.folder / "lock", one.name, pytest.fail), pytest.raises(UserError), one.locked():
        pass
    assert len([*one.folder.rglob(".tmp-*-*")]) == 5 + 2, "those of a run that has the lock stay"
    with one.locked():
        left = {*one.folder.rglob("*")}
    assert {path.name for path in left - before} == {"recipe.yaml", "about.json", "lock", "metrics.jsonl"}
    assert before <= left


def test_partial_features_are_removed_by_the_next_write_unless_another_process_writes(tmp_path, monkeypatch):
    one, folder = open_run(tmp_path), tmp_path / "features"
    folder.mkdir()
    for name in ANOTHERS:
        (folder / name).touch()
    before = {*folder.iterdir()}

    def kill(*_: object) -> None:
        (folder / ".tmp-abc.bin").parent.mkdir(exist_ok=True)
        os.kill(os.getpid(), 9)

    def save_half(path) -> None:
        write_atomic(path, lambda partial: partial.write_bytes(b"half") and kill())

    kill_while_writing(save_half, folder / f"{'0' * 16}.safetensors")
    assert len({*folder.iterdir()} - before) == 1
    with share_folder(folder, lambda: None):  # another process writes
        feature_cache.cached("features", ("a",), dict, 1, one)
    assert len({*folder.iterdir()} - before) == 2
    feature_cache.cached("features", ("b",), dict, 1, one)
    assert {path.suffix for path in {*folder.iterdir()} - before} == {".safetensors"} and before < {*folder.iterdir()}
    assert not [*folder.glob(".tmp-0*")]


def test_a_second_process_changes_nothing_in_the_folder_of_a_run_that_has_the_lock(tmp_path):
    one, two = open_run(tmp_path), open_run(tmp_path)
    with one.locked():
        before = {path: path.read_bytes() for path in one.folder.iterdir()}
        (one.folder / "about.json").write_text("{}")
        before[one.folder / "about.json"] = b"{}"
        with pytest.raises(UserError, match="is already running") as error, two.locked():
            pass
        assert error.value.status == ExitCode.COMMAND
        assert {path: path.read_bytes() for path in one.folder.iterdir()} == before


FOLDERS = ("lock", "recipe.yaml", "about.json", "metrics.jsonl", "log.txt", "result.json", "checkpoints/LATEST")
FILES = ("checkpoints", "checkpoints/quarantine", "checkpoints/step-00000001")


@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
def test_a_folder_or_file_of_the_name_of_what_a_run_writes_is_one_sentence(tmp_path, name, capsys):
    one = open_run(tmp_path)
    place = one.folder / name
    place.parent.mkdir(parents=True)
    if name in FOLDERS:
        place.mkdir()
        (place / "mine").touch()
    else:
        place.touch()

    def execute(recipe, opened: run.Run) -> dict[str, object]:
        opened.newest_checkpoint()
        opened.save_checkpoint(Save(1, lambda folder: (folder / "model.safetensors").touch() or {}, 0, {}, final=True))
        return {}

    try:
        execution.execute_run("pretrain", one.recipe, Screen(), execute)
    except UserError as error:
        assert error.status in (ExitCode.CHECKPOINT, ExitCode.SPACE) and len(str(error)) < 400
        assert name in str(error)
    assert place.is_dir() == (name in FOLDERS) and (place / "mine" if name in FOLDERS else place).exists(), "it stays"
