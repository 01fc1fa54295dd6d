"""Checkpoints are saved beside training, one at a time, with the guarantees of those for which training waits."""

import os
from errno import ENOSPC
from pathlib import Path
from threading import Event

import pytest

from helpers.overrides import TINY
from vitrun.config import resolve
from vitrun.engine import saved_state
from vitrun.errors import ExitCode, UserError
from vitrun.runs import checkpoint_writer, checkpoints
from vitrun.runs.checkpoint_writer import Save
from vitrun.runs.run import Run
from vitrun.runtime.console import Screen
from vitrun.runtime.memory import Memory


@pytest.fixture
def run(tmp_path) -> Run:
    """Return a run that has started."""
    recipe = resolve.resolve_recipe("pretrain", [*TINY, f"runs={tmp_path}"])
    started = Run("pretrain", recipe, Screen(quiet=True))
    started.folder.mkdir(parents=True)
    started.prepare_folder()
    return started


def make_save(step: int, wait_for: Event | None = None, final: bool = False) -> Save:
    """Return a save of one small file, which is written once an event has happened."""

    def write(folder: Path) -> dict[str, str]:
        assert wait_for is None or wait_for.wait(10)
        (folder / "model.safetensors").write_bytes(bytes(100))
        return {}

    return Save(step, write, 1000, {}, final)


def list_saved(run: Run) -> list[int]:
    return [line["saved"] for line in run.read_metrics("saved")]


def test_training_continues_while_a_checkpoint_is_written_and_it_is_logged_once_it_is_saved(run):
    disk = Event()
    assert run.save_checkpoint(make_save(1, disk), background=True)
    assert run.settle_save(wait=False) and not list_saved(run) and not checkpoints.list_checkpoints(run.checkpoints)
    disk.set()
    assert run.settle_save() and list_saved(run) == [1]
    assert "saved step 1 in " in (run.folder / "log.txt").read_text()
    assert run.settle_save() and list_saved(run) == [1], "logged once"


@pytest.mark.parametrize("final", [False, True], ids=["a save", "the last save"])
def test_a_save_waits_for_the_one_before(run, monkeypatch, final):
    order = []
    save = checkpoints.save
    monkeypatch.setattr(
        checkpoints, "save", lambda *args: (order.append(args[1]), save(*args), order.append("done"))[1]
    )
    run.save_checkpoint(make_save(1), background=True)
    assert run.save_checkpoint(make_save(2, final=final))
    assert order == [1, "done", 2, "done"] and list_saved(run) == [1, 2]
    assert [path.name for path in checkpoints.list_checkpoints(run.checkpoints)] == (
        ["step-00000002"] if final else ["step-00000001", "step-00000002"]
    )


def test_what_reads_a_checkpoint_waits_for_the_save(run):
    run.save_checkpoint(make_save(7), background=True)
    assert run.newest_checkpoint().name == "step-00000007"


def test_the_lock_is_not_released_before_a_save_has_ended(run):
    with pytest.raises(UserError, match="Step 3 is not finite"), run.locked():
        run.save_checkpoint(make_save(2), background=True)
        raise UserError("Step 3 is not finite")
    assert run.writer.pending is None and [p.name for p in run.checkpoints.glob("step-*")] == ["step-00000002"]


def test_a_save_that_fails_beside_training_is_reported_and_the_third_in_a_row_ends_the_run(run, monkeypatch):
    warnings = []
    monkeypatch.setattr(run, "warn", warnings.append)
    assert run.save_checkpoint(make_save(1))

    def refuse(*_):
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    monkeypatch.setattr(checkpoints, "write_manifest", refuse)
    for step in (2, 3):
        assert run.save_checkpoint(make_save(step), background=True), "not known yet"
        assert not run.settle_save()
    assert len(warnings) == 2 and "Cannot save step 2: No space left on device. Training continues" in warnings[0]
    run.save_checkpoint(make_save(4), background=True)
    with pytest.raises(UserError, match=r"Cannot save step 4 \(3 times in a row\)") as error:
        run.settle_save()
    assert error.value.status == ExitCode.SPACE
    assert [path.name for path in run.checkpoints.iterdir() if path.name != "LATEST"] == ["step-00000001"]


def test_a_full_disk_is_noticed_before_anything_is_written(run, monkeypatch):
    usage = checkpoint_writer.shutil.disk_usage(run.folder)
    monkeypatch.setattr(checkpoint_writer.shutil, "disk_usage", lambda _: usage._replace(free=10))
    warnings = []
    monkeypatch.setattr(run, "warn", warnings.append)
    assert not run.save_checkpoint(make_save(1)) and not any(run.checkpoints.iterdir())
    assert "needed" not in warnings[0] and "it needs 0.0 MB and the disk has 0.0 MB" in warnings[0]


def test_a_checkpoint_has_the_weights_of_its_step_whether_training_waits_for_it_or_not(
    run_command, tmp_path, monkeypatch
):
    files: dict[str, list] = {}
    save, log_metrics = checkpoints.save, Run.log_metrics

    def train(mode: str, available: int | None) -> None:
        next_step = Event()

        def save_late(folder, step, write, facts):
            assert step != 2 or available is not None or next_step.wait(10)
            saved = save(folder, step, write, facts)
            files.setdefault(mode, []).append({f.name: f.read_bytes() for f in saved.glob("*.safetensors")})
            return saved

        def log(run, line):
            log_metrics(run, line)
            if line.get("step") == 3:
                next_step.set()

        monkeypatch.setattr(checkpoints, "save", save_late)
        monkeypatch.setattr(Run, "log_metrics", log)
        monkeypatch.setattr(saved_state, "available_memory", lambda: available)
        run_command("pretrain", *TINY, "ema=0.9", "save_minutes=0")
        (tmp_path / "runs").rename(tmp_path / mode)

    train("beside training", None)
    train("in line", Memory(1000, "a small machine"))
    assert files["beside training"] == files["in line"] and len(files["in line"]) == 6
    logs = {mode: next((tmp_path / mode).glob("*/log.txt")).read_text() for mode in files}
    assert logs["in line"].count("Training waits while a checkpoint is written: there is no memory for a copy") == 1
    assert "Training waits" not in logs["beside training"]
