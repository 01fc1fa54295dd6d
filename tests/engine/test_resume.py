"""A run that is interrupted or killed ends with the same bits, and is never resumed on other data."""

import os
import signal
import time
from threading import Thread

import pytest

from helpers.overrides import TINY
from helpers.processes import signal_after_steps, start_pretraining
from helpers.runs import hash_weights
from vitrun.commands import pretrain
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runs import execution, run
from vitrun.runtime.console import Screen


def test_a_killed_run_ends_with_the_same_bits(tmp_path):
    complete, killed = tmp_path / "complete", tmp_path / "killed"
    uninterrupted = start_pretraining(complete)
    output = uninterrupted.wait()
    assert uninterrupted.returncode == 0, output
    process = start_pretraining(killed)
    signal_after_steps(process, killed, 5, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and not list(killed.glob("*/result.json"))
    process = start_pretraining(killed)
    output = signal_after_steps(process, killed, 20, signal.SIGTERM)
    assert process.returncode == ExitCode.TERMINATED and "To continue: vitrun pretrain" in output
    process = start_pretraining(killed)
    output = process.wait()
    assert process.returncode == 0 and "Resuming from step" in output
    assert hash_weights(complete) == hash_weights(killed) and len(hash_weights(complete)) == 2


LONG = [*(override for override in TINY if override != "steps=6"), "steps=30", "save_minutes=0"]
DRAWN = [
    ("model.dropout=0.1", "model.stochastic_depth=0.2", "augment=medium1", "data.crop=inception", "data.flip=true"),
    ("optim.layer_decay=0.8", "augment.mixup=0.2", "augment.cutmix=1", "augment.erasing=0.5", "sampler=balanced"),
    ("objective=masked", "augment.randaugment=torchvision", "augment.layers=2", "augment.magnitude=9"),
]


@pytest.mark.parametrize("overrides", DRAWN)
def test_a_resumed_run_ends_with_the_same_bits_for_every_source_of_randomness(tmp_path, overrides):
    def perform(name: str) -> None:
        recipe = resolve.resolve_recipe("pretrain", [*LONG, *overrides, f"runs={tmp_path / name}"])
        execution.execute_run("pretrain", recipe, Screen(quiet=True), pretrain.execute)

    def stop_soon() -> None:
        while not [p for p in tmp_path.glob("stopped/*/checkpoints/step-*") if int(p.name[5:]) >= 3]:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    perform("whole")
    Thread(target=stop_soon).start()
    with pytest.raises(run.Interrupted):
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
