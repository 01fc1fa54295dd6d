"""The folder of a run: its name, and files that are damaged or cannot be written."""

import json
import os
import shutil
import threading
from errno import EACCES, EIO, ENOSPC
from pathlib import Path

import pytest

from helpers.overrides import SCRATCH, TINY
from helpers.runs import pretrain_tiny, run_folder
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError, advise_writing
from vitrun.recipes import tables, trees
from vitrun.runs import checkpoints, lookup, run, run_files
from vitrun.runtime import files
from vitrun.runtime.console import Screen


def test_a_run_is_named_after_what_it_computes():
    def name(*overrides: str) -> str:
        return run.run_name("pretrain", resolve.resolve_recipe("pretrain", list(overrides)))

    assert name() == name("seed=0") == name("device=cpu", "micro_batch=2", "save_minutes=1", "runs=elsewhere")
    assert len({name(), name("seed=1"), name("optim.lr=0.1"), name("steps=5"), name("model=vit_b16")}) == 5
    assert name("model=timm", "model.name=../a b").startswith("pretrain-.._a_b-shapes-")


def test_bytes_in_the_metrics_that_are_not_text_are_ignored(run_command):
    folder = pretrain_tiny(run_command)
    with open(folder / "metrics.jsonl", "ab") as file:
        file.write(b"\xff\xfe\n")
    (folder / "result.json").unlink()
    assert "top1" in run_command("pretrain", *TINY)[1]


def test_runs_of_two_protocols_never_have_one_name():
    overrides = [SCRATCH, "data=imagenet", "res=384", "ema=null"]
    paper, table2 = (
        resolve.resolve_recipe("finetune", [*overrides, f"protocol={name}"])
        for name in ("paper_table4", "paper_table2")
    )
    assert trees.to_plain_tree(table2) == trees.to_plain_tree(paper) | {"protocol": "paper_table2"}
    assert run.run_name("finetune", paper) != run.run_name("finetune", table2)


def open_run(tmp_path) -> run.Run:
    """Return a run that has started."""
    recipe = resolve.resolve_recipe("pretrain", [*TINY, f"runs={tmp_path}"])
    started = run.Run("pretrain", recipe, Screen(quiet=True))
    started.folder.mkdir(parents=True, exist_ok=True)
    started.prepare_folder()
    return started


def test_metrics_that_cannot_be_written_cause_one_warning_and_do_not_end_the_run(tmp_path, monkeypatch):
    opened, warnings = open_run(tmp_path), []
    monkeypatch.setattr(opened, "warn", warnings.append)
    (opened.folder / "metrics.jsonl").unlink()
    (opened.folder / "metrics.jsonl").mkdir()
    for step in range(3):
        opened.log_metrics({"step": step})
        opened.write_log_line("a line that can be written")
    assert len(warnings) == 1 and "metrics.jsonl" in warnings[0]


def test_an_attempt_starts_a_new_line_after_an_incomplete_one(tmp_path):
    opened = open_run(tmp_path)
    with open(opened.folder / "metrics.jsonl", "a") as file:
        file.write('{"attempt": 1, "st')  # as a killed process would
    again = open_run(tmp_path)
    again.log_metrics({"step": 7})
    assert again.attempt == 2
    assert [line["attempt"] for line in again.read_metrics("started")] == [1, 2]
    assert [line["step"] for line in again.read_metrics("step")] == [7]


@pytest.mark.parametrize("how", ["full", "damaged"])
def test_a_run_whose_last_step_cannot_be_saved_is_not_finished(run_command, tmp_path, monkeypatch, how):
    save = checkpoints.save

    def broken(folder, step, write, facts):
        if step < 6:
            return save(folder, step, write, facts)
        if how == "full":
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        saved = save(folder, step, write, facts)
        (saved / "model.safetensors").write_bytes(b"what a failing disk gave back")
        return saved

    monkeypatch.setattr(files, "RETRY_SECONDS", (0.01,))
    monkeypatch.setattr(checkpoints, "save", broken)
    with pytest.raises(UserError, match="Cannot save the last step, 6: ") as error:
        run_command("pretrain", *TINY, "save_minutes=0.00001")
    assert error.value.status == ExitCode.SPACE
    (folder,) = (tmp_path / "runs").glob("pretrain-*")
    assert not (folder / "result.json").exists() and (folder / "checkpoints" / "step-00000005").is_dir()
    monkeypatch.setattr(checkpoints, "save", save)
    run_command("pretrain", *TINY, "save_minutes=0.00001")
    assert json.loads((folder / "checkpoints/step-00000006/MANIFEST.json").read_text())["step"] == 6


def test_a_finished_run_whose_weights_have_changed_since_is_refused(run_command, tmp_path, monkeypatch):
    overrides = ["fewshot", "init=random:vit_nano8", "res=32", "shots=1", "data.test_images=1700"]
    recipe, result = run_command(*overrides)
    assert run_command(*overrides)[1] == result, "shown while the weights are the same"
    row = tables.read_row("model", "vit_nano8") | {"width": 96}
    monkeypatch.setattr(lookup.tables, "read_row", lambda group, name: row)
    with pytest.raises(UserError, match="init=random:vit_nano8: the weights have changed since fewshot-") as error:
        run_command(*overrides)
    assert error.value.status == ExitCode.CHECKPOINT


def test_a_folder_with_the_name_of_the_run_but_another_recipe_is_refused(run_command):
    recipe, _ = run_command("pretrain", *TINY)
    file = recipe.runs / run.run_name("pretrain", recipe) / "recipe.yaml"
    file.write_text(file.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(UserError, match="recipe.yaml is not the recipe of this command"):
        run_command("pretrain", *TINY)
    text = file.read_text().replace("seed: 1", "seed: 0")
    for damaged in ("a damaged one is replaced", f"{text}null: 1\n"):
        file.write_text(damaged)
        assert run_command("pretrain", *TINY)[1]["steps"] == 6 and file.read_text() == text


@pytest.mark.parametrize("file", ["recipe.yaml", "about.json", "preds.parquet", "result.json"])
def test_a_full_disk_ends_the_run_with_one_sentence(tmp_path, monkeypatch, file):
    opened = open_run(tmp_path)

    def refuse(path):
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    monkeypatch.setattr(files, "sync_to_disk", refuse)
    with pytest.raises(UserError, match=f"Cannot write .*{file}: No space left on device. Make room") as error:
        opened.write_file(file, lambda path: path.write_text("x"))
    assert error.value.status == ExitCode.SPACE
    assert not [path for path in opened.folder.iterdir() if path.name.startswith(f".tmp-{file}")], (
        "no partial file is left"
    )


def test_the_advice_for_a_file_that_cannot_be_written_is_that_for_its_cause():
    denied, full, broken = (OSError(number, os.strerror(number)) for number in (EACCES, ENOSPC, EIO))
    assert advise_writing(denied) == "Make that folder writable" and advise_writing(full) == "Make room"
    assert advise_writing(broken) == "Check that disk"
    assert advise_writing(ValueError("I/O error: Permission denied (os error 13)")) == advise_writing(denied)


def test_a_folder_that_cannot_be_made_is_not_called_gone(tmp_path, monkeypatch):
    def refuse(path, *args, **options):
        raise PermissionError(EACCES, os.strerror(EACCES), str(path))

    opened = open_run(tmp_path)
    shutil.rmtree(opened.folder)
    other = run.Run(opened.command, opened.recipe, Screen())
    monkeypatch.setattr(Path, "mkdir", refuse)
    error = pytest.raises(UserError, match=r"Permission denied\. Make that folder writable, or use another")
    with error, other.locked():
        pass


def test_a_run_does_not_start_without_room_for_a_checkpoint(run_command, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(run.shutil, "disk_usage", lambda path: usage._replace(free=10**6))
    for dry in (True, False):
        with pytest.raises(
            UserError, match="A checkpoint of this run takes 2.7 MB, and the disk .* has 1.0 MB"
        ) as error:
            run_command("pretrain", *TINY, dry=dry)
        assert error.value.status == ExitCode.SPACE
    assert not any((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/LATEST", "result.json"])
def test_what_lies_where_a_run_is_to_write_is_refused_before_the_first_step(tmp_path, name):
    opened = open_run(tmp_path)
    opened.check_places()
    path = opened.folder / name
    path.mkdir(parents=True) if "." in name or "/" in name else path.symlink_to("/nowhere/disk")
    with pytest.raises(UserError, match=f"{path} is .* folder: move it away") as error:
        opened.check_places()
    assert error.value.status == ExitCode.SPACE and os.path.lexists(path)


@pytest.mark.parametrize("present, room, warns", [(0, 2.9, True), (0, 3, False), (1, 1.9, True), (2, 1, False)])
def test_room_for_a_checkpoint_beside_those_that_stay_is_asked_for(tmp_path, monkeypatch, present, room, warns):
    opened, warnings = open_run(tmp_path), []
    monkeypatch.setattr(opened, "warn", warnings.append)
    for step in range(present):
        (opened.checkpoints / f"step-{step:08d}").mkdir(parents=True)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(run.shutil, "disk_usage", lambda path: usage._replace(free=room * 10**6))
    opened.check_disk_space(10**6)
    assert bool(warnings) == warns


def test_a_resumed_run_logs_what_it_computes_differently_and_uses_a_given_micro_batch(
    run_command, tmp_path, monkeypatch
):
    save, overrides = checkpoints.save, (*TINY, "save_minutes=0.00001")

    def full(folder, step, write, facts):
        if step == 3:
            raise KeyboardInterrupt  # as if the process ended here
        return save(folder, step, write, facts)

    monkeypatch.setattr(checkpoints, "save", full)
    with pytest.raises(KeyboardInterrupt):
        run_command("pretrain", *overrides, "micro_batch=8", "precision=fp32")
    monkeypatch.setattr(checkpoints, "save", save)
    run_command("pretrain", *overrides, "micro_batch=4", "precision=fp32")
    (folder,) = (tmp_path / "runs").glob("pretrain-*")
    log = (folder / "log.txt").read_text()
    assert "with micro_batch 4, not 8" in log
    assert files.read_json(folder / "about.json")["computing"] | {"threads": 0, "workers": 0} == {
        "device": "cpu", "precision": "fp32", "ranks": 1, "threads": 0, "micro_batch": 4, "workers": 0,
        "attention": "fused", "gelu": "torch", "compile": False
    }  # fmt: skip


def move_at_step(monkeypatch, folder: Path, step: int, back: float | None = None) -> None:
    """Move the folder of a run away when it logs a step; bring it back after ``back`` seconds."""
    log_metrics = run.Run.log_metrics

    def log(self, values):
        if values.get("step") == step and self.folder.exists():
            self.settle_save()  # of the step before, which may still be in progress
            self.folder.rename(folder)
            if back is not None:
                threading.Timer(back, folder.rename, [self.folder]).start()
        log_metrics(self, values)

    monkeypatch.setattr(run.Run, "log_metrics", log)


def test_a_run_whose_folder_vanishes_ends_with_one_sentence_and_continues_once_it_is_back(
    run_command, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(files, "RETRY_SECONDS", (0.01,))
    overrides = [*TINY, "save_minutes=0.00001"]
    with monkeypatch.context() as patch:
        move_at_step(patch, tmp_path / "away", 5)
        with pytest.raises(UserError, match="Cannot save the last step, 6: the folder of the run is gone") as error:
            run_command("pretrain", *overrides)
    assert error.value.status == ExitCode.SPACE and not any((tmp_path / "runs").iterdir()), "no half state"
    assert len(capfd.readouterr().err.splitlines()) <= 3, "one warning for each file, and one for the save"
    recipe = resolve.resolve_recipe("pretrain", [*overrides, f"runs={tmp_path / 'runs'}"])
    assert f"once {run_folder(recipe, 'pretrain').parent}" in str(error.value)
    (tmp_path / "away").rename(run_folder(recipe, "pretrain"))
    assert run_command("pretrain", *overrides)[1]["steps"] == 6


def test_a_folder_that_is_away_for_a_moment_costs_nothing(run_command, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "RETRY_SECONDS", (0.1, 1))
    move_at_step(monkeypatch, tmp_path / "away", 6, back=0.3)
    recipe, result = run_command("pretrain", *TINY)
    assert result["steps"] == 6 and (recipe.runs / run.run_name("pretrain", recipe) / "result.json").exists()


def test_a_run_whose_checkpoints_are_gone_is_not_started_again(run_command, tmp_path, monkeypatch):
    overrides = [*TINY, "save_minutes=0.00001"]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "keep_only", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):  # as if the process ended here
            run_command("pretrain", *overrides)
    (folder,) = (tmp_path / "runs").iterdir()
    (folder / "checkpoints").rename(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(UserError, match="was saved at step 5, but .* has no checkpoint. Put it back") as error:
            run_command("pretrain", *overrides)
        assert error.value.status == ExitCode.CHECKPOINT
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    (tmp_path / "elsewhere").rename(folder / "checkpoints")
    moved = {path: tmp_path / path.name for path in (folder / "metrics.jsonl", *folder.glob("checkpoints/step-*"))}
    for path, place in moved.items():
        path.rename(place)
    with pytest.raises(UserError, match="was saved at step 6, but .* has no checkpoint. Put it back"):
        run_command("pretrain", *overrides)  # by the file LATEST alone
    for path, place in moved.items():
        place.replace(path)
    assert run_command("pretrain", *overrides)[1]["steps"] == 6


def test_a_run_that_stopped_before_its_first_checkpoint_says_that_it_starts_again(run_command, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_command("pretrain", *TINY)
    run_command("pretrain", *TINY)
    (log,) = (tmp_path / "runs").glob("*/log.txt")
    assert "Starting again from step 0: it stopped after step 6, before its first checkpoint" in log.read_text()


@pytest.mark.parametrize("result", [[], {"metrics": []}, {"top1": 1, "metrics": {"top1": 0.5}}], ids=str)
def test_a_result_of_another_form_is_refused_where_it_would_be_printed(tmp_path, result):
    (tmp_path / "result.json").write_text(json.dumps({"result": result, "finished": 1.0}))
    with pytest.raises(UserError, match="is not a result of vitrun") as error:
        run_files.load_result(tmp_path)
    assert error.value.status == ExitCode.CHECKPOINT
