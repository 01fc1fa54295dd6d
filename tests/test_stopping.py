"""A run survives being stopped and killed to the last bit, and refuses to go on with what is not its own."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from threading import Thread

import pytest
from conftest import TINY

from vitrun import pretrain, run, start
from vitrun.mistakes import Exit, Mistake
from vitrun.screen import Screen

RUN = [*TINY, "steps=40", "warmup=4", "ema=0.9", "save_minutes=0", "model.dropout=0.1"]


def launch(folder, *more: str, verb: str = "pretrain") -> subprocess.Popen:
    """A process group of its own, as a shell makes one of each command."""
    words = [w for w in RUN if w not in ("steps=6", "warmup=2")] if verb == "pretrain" else []
    command = [sys.executable, "-m", "vitrun", verb, *words, *more, f"runs={folder}"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def weights(folder) -> dict[str, str]:
    """The hash of each file of weights in the final checkpoint."""
    (last,) = folder.glob("*/checkpoints/step-*")
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in last.glob("*.safetensors")}


def stop_after(process, folder, steps: int, number: int, send=os.kill) -> str:
    """Send a signal once that many steps are saved."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not [p for p in folder.glob("*/checkpoints/step-*") if int(p.name[5:]) >= steps]:
        time.sleep(0.01)
    send(process.pid, number)
    return process.communicate()[0]


def test_a_killed_run_ends_with_the_same_bits(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert launch(whole).wait() == 0
    process = launch(killed)
    stop_after(process, killed, 5, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and not list(killed.glob("*/result.json"))
    process = launch(killed)
    output = stop_after(process, killed, 20, signal.SIGTERM)
    assert process.returncode == Exit.TERMINATED and "To go on from here: vitrun pretrain" in output
    process = launch(killed)
    output = process.communicate()[0]
    assert process.returncode == 0 and "resumes from step" in output
    assert weights(whole) == weights(killed) and len(weights(whole)) == 2


LONG = [*(word for word in TINY if word != "steps=6"), "steps=30", "save_minutes=0"]
DRAWN = [
    ("model.dropout=0.1", "model.stochastic_depth=0.2", "augment=medium1", "data.crop=inception", "data.flip=true"),
    ("objective=masked", "augment.randaugment=torchvision", "augment.layers=2", "augment.magnitude=9"),
]


@pytest.mark.parametrize("words", DRAWN)
def test_whatever_is_drawn_a_stopped_run_ends_with_the_same_bits(tmp_path, words):
    def perform(name: str) -> None:
        recipe = start.load("pretrain", [*LONG, *words, f"runs={tmp_path / name}"])
        run.carry_out("pretrain", recipe, Screen(quiet=True), pretrain.main)

    def stop_soon() -> None:
        while not [p for p in tmp_path.glob("stopped/*/checkpoints/step-*") if int(p.name[5:]) >= 3]:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    perform("whole")
    Thread(target=stop_soon).start()
    with pytest.raises(run.Stopped):
        perform("stopped")
    perform("stopped")
    assert weights(tmp_path / "whole") == weights(tmp_path / "stopped")


@pytest.mark.parametrize(
    "number, send", [(signal.SIGINT, os.killpg), (signal.SIGTERM, os.killpg), (signal.SIGTERM, os.kill)]
)
def test_a_sweep_that_is_stopped_lets_its_job_save_and_begins_no_other(tmp_path, number, send):
    process = launch(tmp_path, "-m", "seed=0,1")
    output = stop_after(process, tmp_path, 3, number, send)
    assert process.returncode == (Exit.INTERRUPTED if number == signal.SIGINT else Exit.TERMINATED)
    assert "saved step" in output and "job 2/2" not in output and "Traceback" not in output


def test_quickstart_stops_with_one_sentence(tmp_path):
    process = launch(tmp_path, verb="quickstart")
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not list(tmp_path.glob("*/about.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output = process.communicate()[0]
    assert process.returncode == Exit.TERMINATED and "Traceback" not in output
    assert output.splitlines()[-1].startswith("Stopped. To go on from here: vitrun quickstart runs=")


def test_a_run_refuses_to_go_on_with_other_data(carry_out, tmp_path):
    recipe, _ = carry_out("pretrain", *TINY)
    folder = recipe.runs / run.name("pretrain", recipe)
    os.remove(folder / "result.json")
    about = folder / "about.json"
    about.write_text(about.read_text().replace('"train_data": "', '"train_data": "0'))
    with pytest.raises(Mistake, match="The data changed") as error:
        carry_out("pretrain", *TINY)
    assert error.value.status == Exit.DATA
