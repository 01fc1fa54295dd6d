"""A run that is interrupted or killed ends with the same bits, and is never resumed on other data."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from helpers.images import write_part_folders
from helpers.overrides import TINY
from helpers.processes import signal_after_steps, start_pretraining
from helpers.runs import hash_weights, interrupted_after, run_folder
from vitrun.commands import pretrain
from vitrun.config import resolve
from vitrun.engine.loop import Step
from vitrun.engine.progress import Meter
from vitrun.engine.trainer import Trainer
from vitrun.errors import ExitCode, UserError
from vitrun.runs import execution, run
from vitrun.runtime import device
from vitrun.runtime.console import Screen


def test_a_run_that_is_asked_to_stop_saves_its_step_and_says_how_to_continue(tmp_path):
    process = start_pretraining(tmp_path)
    output = signal_after_steps(process, tmp_path, 3, signal.SIGTERM)
    assert process.returncode == ExitCode.TERMINATED and "To continue: vitrun pretrain" in output
    saved = re.search(r"Saved step (\d+) of 40", output)
    assert saved and list(tmp_path.glob(f"*/checkpoints/step-{int(saved[1]):08d}")), output
    assert not list(tmp_path.glob("*/result.json")) and not list(tmp_path.glob("*/checkpoints/.tmp-*"))


LONG = [*(override for override in TINY if override != "steps=6"), "steps=10", "save_minutes=0"]
DRAWN = [
    ("model.dropout=0.1", "model.stochastic_depth=0.2", "augment=medium1", "data.crop=inception", "data.flip=true"),
    ("optim.layer_decay=0.8", "augment.mixup=0.2", "augment.cutmix=1", "augment.erasing=0.5", "sampler=balanced"),
    ("objective=masked", "augment.randaugment=torchvision", "augment.layers=2", "augment.magnitude=9"),
    ("optim=adafactor", "optim.head_decay=1", "schedule=rsqrt", "timescale=4", "cooldown=20%", "model.head=map"),
]


@pytest.mark.parametrize("overrides", DRAWN)
def test_a_resumed_run_ends_with_the_same_bits_for_every_source_of_randomness(tmp_path, monkeypatch, overrides):
    def perform(name: str) -> None:
        recipe = resolve.resolve_recipe("pretrain", [*LONG, *overrides, f"runs={tmp_path / name}"])
        execution.execute_run("pretrain", recipe, Screen(quiet=True), pretrain.execute)

    def stop_after_four(meter: Meter, step: Step) -> None:
        record(meter, step)
        if step.number == 4:  # the first of an epoch
            os.kill(os.getpid(), signal.SIGINT)

    perform("whole")
    record = Meter.record_step
    with monkeypatch.context() as patch, pytest.raises(run.Interrupted):
        patch.setattr(Meter, "record_step", stop_after_four)
        perform("stopped")
    perform("stopped")
    assert hash_weights(tmp_path / "whole") == hash_weights(tmp_path / "stopped")


def test_a_run_refuses_to_resume_with_other_data(run_command, tmp_path):
    recipe, _ = run_command("pretrain", *TINY)
    folder = recipe.runs / run.run_name("pretrain", recipe)
    os.remove(folder / "result.json")
    about = folder / "about.json"
    about.write_text(about.read_text().replace('"train_data": "', '"train_data": "0'))
    with pytest.raises(UserError, match="The data have changed") as error:
        run_command("pretrain", *TINY)
    assert error.value.status == ExitCode.DATA


@pytest.mark.parametrize("change", ["an image of equal size", "a new image", "another class"])
def test_data_that_change_under_a_run_are_refused_and_it_continues_once_they_are_restored(
    run_command, tmp_path, monkeypatch, change
):
    folder = tmp_path / "photos"
    write_part_folders(folder, {"train": 0, "test": 1})
    images = sorted((folder / "train" / "a").iterdir())
    overrides = ["model=vit_nano8", "data=folder", f"data.path={folder}", "batch=8", "steps=3", "warmup=1", "res=16"]
    monkeypatch.setattr(run.Run, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_command("pretrain", *overrides)
    monkeypatch.undo()
    before = images[0].read_bytes()
    if change == "an image of equal size":
        images[0].write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    elif change == "a new image":
        (folder / "train" / "b" / "new.bmp").write_bytes(before)
    else:
        images[0].rename(folder / "train" / "b" / images[0].name)
    with pytest.raises(
        UserError, match="data.path=.* its files have changed since pretrain-vit_nano8-photos-"
    ) as error:
        run_command("pretrain", *overrides)
    assert error.value.status == ExitCode.DATA
    shutil.rmtree(folder)
    write_part_folders(folder, {"train": 0, "test": 1})
    assert "top1" in run_command("pretrain", *overrides)[1]
    assert len(list((tmp_path / "runs").iterdir())) == 1


SAVED = [*TINY, "ema=0.9", "save_minutes=0"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, str]:
    """Return the hashes of the weights of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    recipe = resolve.resolve_recipe("pretrain", [*SAVED, f"runs={folder}"])
    execution.execute_run("pretrain", recipe, Screen(quiet=True), pretrain.execute)
    return hash_weights(folder)


@pytest.fixture
def checkpoint_folder(run_command, tmp_path, monkeypatch) -> Path:
    """Train a run that ends abruptly after its checkpoint of step 4; return the folder of its checkpoints."""
    with interrupted_after(4, monkeypatch):
        run_command("pretrain", *SAVED)
    (folder,) = (tmp_path / "runs").glob("*/checkpoints")
    return folder


def flip_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


DAMAGE = [
    (flip_bit, "model.safetensors"),
    (flip_bit, "MANIFEST.json"),
    (flip_bit, "train_state.json"),
    (truncate, "train_state.safetensors"),
    (Path.unlink, "ema.safetensors"),
]


@pytest.mark.parametrize("how, name", DAMAGE, ids=lambda value: getattr(value, "__name__", value))
def test_a_run_whose_newest_checkpoint_is_damaged_resumes_from_the_one_before_to_the_same_bits(
    run_command, checkpoint_folder, whole, capfd, how, name
):
    how(checkpoint_folder / "step-00000004" / name)
    run_command("pretrain", *SAVED)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("Rejected step-00000004: ") and name in line and "Moved it to quarantine" in line
    assert "Resuming from step 3" in (checkpoint_folder.parent / "log.txt").read_text()
    assert hash_weights(checkpoint_folder.parent.parent) == whole


def test_weights_are_not_taken_from_a_run_with_a_checkpoint_of_another(run_command, checkpoint_folder):
    run_command("pretrain", *SAVED)
    recipe, _ = run_command("pretrain", *SAVED, "seed=1")
    (newest,) = (run_folder(recipe, "pretrain") / "checkpoints").glob("step-*")
    shutil.copytree(newest, checkpoint_folder / "step-00000099")
    with pytest.raises(UserError, match="of several runs") as error:
        run_command("eval", f"init={checkpoint_folder.parent.name}")
    assert error.value.status == ExitCode.CHECKPOINT
    shutil.rmtree(checkpoint_folder / "step-00000099")
    assert run_command("eval", f"init={checkpoint_folder.parent.name}")[1]["loss"] > 0


def test_a_checkpoint_of_another_run_is_not_continued(run_command, checkpoint_folder, whole, capfd):
    recipe, _ = run_command("pretrain", *SAVED, "seed=1")
    other = run_folder(recipe, "pretrain")
    shutil.move(other / "checkpoints" / "step-00000006", checkpoint_folder)
    shutil.rmtree(other)
    capfd.readouterr()
    run_command("pretrain", *SAVED)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"Rejected step-00000006: it is of another run, {other.name}. Moved it to quarantine")
    assert hash_weights(checkpoint_folder.parent.parent) == whole


def test_a_run_without_a_sound_checkpoint_is_refused_with_the_reason_of_each(run_command, checkpoint_folder):
    flip_bit(checkpoint_folder / "step-00000004" / "ema.safetensors")
    (checkpoint_folder / "step-00000003" / "train_state.json").unlink()
    with pytest.raises(UserError, match="No checkpoint in .* is sound") as error:
        run_command("pretrain", *SAVED)
    assert error.value.status == ExitCode.CHECKPOINT
    assert "step-00000004: the content of ema.safetensors is not what was saved" in str(error.value)
    assert "step-00000003: train_state.json is missing" in str(error.value)
    with pytest.raises(UserError, match="is sound"):
        run_command("pretrain", *SAVED)


def test_a_run_that_is_resumed_with_another_number_of_loader_threads_ends_with_the_same_bits(
    run_command, checkpoint_folder, whole, monkeypatch
):
    def set_threads(machine: device.Machine, *args: str) -> None:
        initialize(machine, *args)
        machine.loader_threads = 3

    initialize = device.Machine.__init__
    monkeypatch.setattr(device.Machine, "__init__", set_threads)
    run_command("pretrain", *SAVED)
    assert "Resuming from step 4" in (checkpoint_folder.parent / "log.txt").read_text()
    assert hash_weights(checkpoint_folder.parent.parent) == whole


def test_a_run_that_ended_in_its_last_test_tests_again_and_trains_nothing(run_command, whole, tmp_path, monkeypatch):
    def end(_: Trainer) -> None:
        raise KeyboardInterrupt  # as if the process ended here

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "test", end)
        run_command("pretrain", *SAVED)
    (folder,) = (tmp_path / "runs").iterdir()
    steps = (folder / "metrics.jsonl").read_text().count('"loss"')
    assert run_command("pretrain", *SAVED)[1]["test_images"] == 50
    assert (folder / "metrics.jsonl").read_text().count('"loss"') == steps == 6
    assert hash_weights(folder.parent) == whole
