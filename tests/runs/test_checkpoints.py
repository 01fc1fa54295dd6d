"""A checkpoint is complete or absent, whatever happens to the process and the disk."""

import json
import os
import signal
from pathlib import Path

import pytest
from blake3 import blake3

from vitrun.errors import ExitCode, UserError
from vitrun.runs import checkpoints, manifest

CONTENT = bytes(range(256)) * 4


def write(folder: Path) -> dict[str, str]:
    (folder / "model.safetensors").write_bytes(CONTENT)
    (folder / "state.json").write_text("{}")
    return {"model.safetensors": blake3(CONTENT).hexdigest()}  # state.json is hashed when it is written


@pytest.fixture
def folder(tmp_path) -> Path:
    """Write checkpoints of steps 10 and 20; return their folder."""
    for step in (10, 20):
        checkpoints.save(tmp_path, step, write, {"recipe": "x"})
    return tmp_path


@pytest.fixture
def warnings() -> list[str]:
    return []


def truncate(file: Path) -> None:
    os.truncate(file, len(CONTENT) // 2)


def flip_bit(file: Path, bit: int = 4001) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def damage(checkpoint: Path, how) -> None:
    how(checkpoint / "model.safetensors")


def edit_manifest(file: Path, **values) -> None:
    """Edit the manifest beside a file by hand."""
    path = file.with_name("MANIFEST.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def forge_manifest(file: Path, **values) -> None:
    """Edit the manifest beside a file, and its hash of itself."""
    content = json.loads(file.with_name("MANIFEST.json").read_text()) | values
    del content["sha256"]
    edit_manifest(file, **values, sha256=manifest.hash_content(content))


def replace_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


DAMAGE = [
    (truncate, "model.safetensors has 512 bytes, not 1024"),
    (flip_bit, "the content of model.safetensors is not what was saved"),
    (Path.unlink, "model.safetensors is missing"),
    (lambda file: file.with_name("MANIFEST.json").unlink(), "MANIFEST.json cannot be read"),
    (lambda file: truncate(file.with_name("MANIFEST.json")), "MANIFEST.json cannot be read"),
    (lambda file: file.with_name("MANIFEST.json").write_text(""), "MANIFEST.json cannot be read"),
    (lambda file: file.with_name("MANIFEST.json").write_text("[]"), "MANIFEST.json cannot be read"),
    (lambda file: file.with_name("MANIFEST.json").write_text("{}"), "MANIFEST.json has no valid 'schema'"),
    (lambda file: file.with_name("MANIFEST.json").write_text("[" * 200_000), "MANIFEST.json cannot be read"),
    (lambda file: file.with_name("MANIFEST.json").write_text("9" * 5000), "MANIFEST.json cannot be read"),
    (lambda file: replace_by_pipe(file.with_name("MANIFEST.json")), "MANIFEST.json cannot be read"),
    (lambda file: edit_manifest(file, files={}), "the content of MANIFEST.json is not what was saved"),
    (lambda file: edit_manifest(file, recipe="y"), "the content of MANIFEST.json is not what was saved"),
    (lambda file: forge_manifest(file, files={}), "MANIFEST.json names no files"),
    (lambda file: forge_manifest(file, files={file.name: 1}), "MANIFEST.json has no valid entry"),
    (lambda file: forge_manifest(file, step=30), "it is of step 30"),
    (lambda file: forge_manifest(file, step=True), "MANIFEST.json has no valid 'step'"),
    (lambda file: file.with_name("ema.safetensors").write_text("unlisted"), "'ema.safetensors' is not in its MANIFEST"),
]
NAMES = [how.__name__.strip("<>") + f" {number}" for number, (how, _) in enumerate(DAMAGE)]


def test_a_saved_checkpoint_is_found_complete(folder, warnings):
    newest = checkpoints.find_newest(folder, warnings.append)
    assert newest == folder / "step-00000020" and not warnings
    assert (newest / "model.safetensors").read_bytes() == CONTENT
    assert json.loads((newest / "MANIFEST.json").read_text())["recipe"] == "x"


def test_a_missing_folder_has_no_checkpoint(tmp_path, warnings):
    assert checkpoints.find_newest(tmp_path / "nowhere", warnings.append) is None and not warnings


@pytest.mark.parametrize("how, reason", DAMAGE, ids=NAMES)
def test_a_damaged_checkpoint_is_rejected_with_the_reason_and_the_one_before_is_used(folder, warnings, how, reason):
    damage(folder / "step-00000020", how)
    assert checkpoints.find_newest(folder, warnings.append) == folder / "step-00000010"
    assert (
        len(warnings) == 1 and "step-00000020" in warnings[0] and reason in warnings[0] and "quarantine" in warnings[0]
    )
    assert [path.name.split("-")[1] for path in (folder / "quarantine").iterdir()] == ["00000020"], "moved, not deleted"
    warnings.clear()
    assert checkpoints.find_newest(folder, warnings.append) == folder / "step-00000010" and not warnings, "one warning"


def test_every_single_flipped_bit_of_a_file_is_found(folder):
    checkpoint = folder / "step-00000020"
    for bit in range(0, len(CONTENT) * 8, 61):
        flip_bit(checkpoint / "model.safetensors", bit)
        assert "BLAKE3" in checkpoints.find_problem(checkpoint), bit
        flip_bit(checkpoint / "model.safetensors", bit)
    assert checkpoints.find_problem(checkpoint) is None


def test_a_flipped_bit_of_a_manifest_is_found(folder):
    checkpoint = folder / "step-00000020"
    for bit in range(0, (checkpoint / "MANIFEST.json").stat().st_size * 8, 13):  # all of them take 20 s
        flip_bit(checkpoint / "MANIFEST.json", bit)
        assert "MANIFEST.json" in checkpoints.find_problem(checkpoint), bit
        flip_bit(checkpoint / "MANIFEST.json", bit)
    assert checkpoints.find_problem(checkpoint) is None


def test_hidden_files_of_other_programs_do_not_spoil_a_checkpoint(folder, warnings):
    (folder / "step-00000020" / ".DS_Store").write_bytes(b"x")
    assert checkpoints.find_newest(folder, warnings.append) == folder / "step-00000020" and not warnings


def test_what_a_user_puts_beside_checkpoints_is_neither_used_nor_deleted(folder, warnings):
    mine = [folder / "step-notes", folder / "step-00000020.bak"]
    for path in mine:
        path.mkdir()
        (path / "mine.txt").write_text("x")
    assert checkpoints.find_newest(folder, warnings.append) == folder / "step-00000020" and not warnings
    checkpoints.save(folder, 30, write, {})
    checkpoints.keep_only(folder, folder / "step-00000030")
    assert all((path / "mine.txt").exists() for path in mine)


def test_a_damaged_checkpoint_that_cannot_be_moved_is_passed_over_and_saved_anew(folder, warnings):
    (folder / "quarantine").write_text("a file of the user")
    damage(folder / "step-00000020", flip_bit)
    assert checkpoints.find_newest(folder, warnings.append) == folder / "step-00000010"
    assert len(warnings) == 1 and "cannot be moved" in warnings[0]
    saved = checkpoints.save(folder, 20, write, {})
    assert checkpoints.find_problem(saved) is None and (folder / "quarantine").is_file()


def test_a_run_without_a_sound_checkpoint_is_refused_every_time(folder, warnings):
    for name in ("step-00000010", "step-00000020"):
        damage(folder / name, flip_bit)
    for _ in range(2):
        with pytest.raises(UserError, match="No checkpoint in .* is sound") as error:
            checkpoints.find_newest(folder, warnings.append)
        assert error.value.status == ExitCode.CHECKPOINT == 4


def test_a_half_written_folder_is_removed_and_named(folder, warnings):
    partial = folder / ".tmp-step-00000030-1234"
    partial.mkdir()
    (partial / "model.safetensors").write_bytes(CONTENT[:100])
    assert checkpoints.find_newest(folder, warnings.append) == folder / "step-00000020"
    assert not partial.exists() and len(warnings) == 1 and partial.name in warnings[0]


@pytest.mark.parametrize("hint", ["step-00000010\n", "step-99999999\n", "", None])
def test_latest_is_only_a_hint(folder, warnings, hint):
    assert (folder / "LATEST").read_text() == "step-00000020\n"
    (folder / "LATEST").unlink() if hint is None else (folder / "LATEST").write_text(hint)
    assert checkpoints.find_newest(folder, warnings.append) == folder / "step-00000020" and not warnings


@pytest.mark.parametrize("make", [os.mkfifo, Path.touch, lambda path: path.symlink_to("gone"), lambda path: None])
def test_what_is_no_folder_counts_as_no_checkpoint_of_its_step(folder, make):
    make(folder / "step-00000030")
    assert checkpoints.is_known(folder, 20) and not checkpoints.is_known(folder, 30)


def test_the_newest_two_checkpoints_remain(folder):
    for step in (30, 40, 100):
        checkpoints.save(folder, step, write, {})
        assert len(checkpoints.list_checkpoints(folder)) == checkpoints.KEEP_LAST == 2
    assert [path.name for path in checkpoints.list_checkpoints(folder)] == ["step-00000040", "step-00000100"]
    assert not list(folder.glob(".*"))


def test_a_single_checkpoint_survives_only_if_it_is_sound(folder):
    last = folder / "step-00000020"
    damage(last, flip_bit)
    with pytest.raises(OSError, match="is not what was saved"):
        checkpoints.keep_only(folder, last)
    assert len(checkpoints.list_checkpoints(folder)) == 2
    damage(last, flip_bit)  # flips the bit back
    checkpoints.keep_only(folder, last)
    assert checkpoints.list_checkpoints(folder) == [last]


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()], ids=["disk", "Ctrl-C"])
def test_a_writer_that_raises_leaves_no_file(folder, warnings, error):
    before = sorted(folder.rglob("*"))

    def fail(place: Path) -> None:
        (place / "model.safetensors").write_bytes(CONTENT[:10])
        raise error

    with pytest.raises(type(error)):
        checkpoints.save(folder, 30, fail, {})
    assert sorted(folder.rglob("*")) == before and (folder / "LATEST").read_text() == "step-00000020\n"
    assert checkpoints.find_newest(folder, warnings.append) == folder / "step-00000020" and not warnings


def test_a_step_is_saved_once(folder):
    def fail(place: Path) -> None:
        raise AssertionError("written twice")

    assert checkpoints.save(folder, 20, fail, {}) == folder / "step-00000020"


@pytest.mark.parametrize("change, which", [(1, "a later"), (-1, "an earlier")])
def test_a_checkpoint_of_another_version_is_refused_and_not_moved(folder, change, which):
    path = folder / "step-00000020" / "MANIFEST.json"
    forge_manifest(path, schema=manifest.SCHEMA + change)
    with pytest.raises(UserError, match=f"is of {which} vitrun") as error:
        checkpoints.find_newest(folder, pytest.fail)
    assert error.value.status == ExitCode.CHECKPOINT
    assert path.exists(), "it is sound for the version that wrote it"


def kill_at(point: str, folder: Path) -> None:
    """Save step 30 in a fork that gets SIGKILL at a point of the save."""

    def die(at: str) -> None:
        if at == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def write_slowly(partial: Path) -> dict[str, str]:
        die("before the first file")
        (partial / "model.safetensors").write_bytes(CONTENT[:300])
        die("inside a file")
        (partial / "model.safetensors").write_bytes(CONTENT)
        die("between two files")
        (partial / "state.json").write_text("{}")
        die("before the manifest")
        return {}

    write_manifest, write_text = checkpoints.write_manifest, checkpoints.write_text_atomic
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        return
    checkpoints.write_manifest = lambda *args: (write_manifest(*args), die("before the rename"))
    checkpoints.write_text_atomic = lambda *args: (die("before LATEST"), write_text(*args))
    checkpoints.remove = lambda path: die("before an old one is deleted") if path.name == "step-00000010" else None
    checkpoints.save(folder, 30, write_slowly, {})
    os._exit(1)


POINTS = ["before the first file", "inside a file", "between two files", "before the manifest", "before the rename"]


@pytest.mark.parametrize("point", POINTS)
def test_a_process_killed_inside_a_save_leaves_the_checkpoint_before_and_a_partial_one_that_is_removed(
    folder, warnings, point
):
    kill_at(point, folder)
    assert [path.name for path in checkpoints.list_checkpoints(folder)] == ["step-00000010", "step-00000020"]
    assert checkpoints.find_newest(folder, warnings.append) == folder / "step-00000020"
    assert len(warnings) == 1 and ".tmp-step-00000030" in warnings[0] and not list(folder.glob(".tmp-*"))
    assert checkpoints.find_problem(checkpoints.save(folder, 30, write, {})) is None


@pytest.mark.parametrize("point", ["before LATEST", "before an old one is deleted"])
def test_a_process_killed_after_the_rename_leaves_the_new_checkpoint(folder, warnings, point):
    kill_at(point, folder)
    assert checkpoints.find_newest(folder, warnings.append) == folder / "step-00000030" and not warnings
    checkpoints.save(folder, 40, write, {})
    assert [path.name for path in checkpoints.list_checkpoints(folder)] == ["step-00000030", "step-00000040"]
