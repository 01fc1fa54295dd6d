"""A command becomes a job of SLURM, and is requeued when it is asked to stop."""

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vitrun.cli import launch
from vitrun.errors import ExitCode, UserError
from vitrun.recipes.slurm import parse_time
from vitrun.runtime import slurm

OPTIONS = ["launcher=slurm", "slurm.nodes=2", "slurm.gpus=8", "slurm.time=36h", "slurm.partition=a100"]
# A stand-in for a run: it counts its starts, and the first one waits for the signal before which it saves.
PROGRAM = """
import pathlib, signal, sys, time
starts = pathlib.Path("starts")
number = int(starts.read_text()) + 1 if starts.exists() else 1
starts.write_text(str(number))
def stop(*_):
    pathlib.Path("saved").write_text("saved")
    sys.exit(143)
signal.signal(signal.SIGUSR1, stop)
pathlib.Path("ready").touch()
if number == 1:
    time.sleep(30)
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Return a folder with stand-ins of SLURM's commands on the path: sbatch stores the script that it is given."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "sbatch").write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/script\necho Submitted batch job 4711\n')
    (commands / "srun").write_text('#!/bin/sh\nexec "$@"\n')
    for file in commands.iterdir():
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    return tmp_path


def test_one_command_is_one_job_with_a_rank_for_each_gpu(cluster, capsys):
    overrides, request = launch.take_launcher(["model=vit_l16", *OPTIONS])
    assert overrides == ["model=vit_l16"] and (request.nodes, request.gpus, request.time) == (2, 8, 36 * 60)
    launch.launch("pretrain", [overrides], request, cluster / "runs")
    script = (cluster / "script").read_text()
    for line in ("nodes=2", "ntasks-per-node=8", "gpus-per-node=8", "time=2160", "partition=a100", "signal=USR2@120"):
        assert f"#SBATCH --{line}\n" in script
    assert "#SBATCH --requeue\n" in script and "array" not in script and "srun" in script
    shown = capsys.readouterr().err
    assert "Submitted job 4711" in shown and "scancel 4711" in shown


def test_several_commands_are_an_array_and_jobs_bounds_how_many_run(cluster, capsys):
    _, request = launch.take_launcher(OPTIONS)
    launch.launch("pretrain", [["seed=0"], ["seed=1"], ["seed=2"]], request, cluster / "runs", at_once=2)
    assert "#SBATCH --array=0-2%2\n" in (cluster / "script").read_text()
    assert "4711_2: vitrun pretrain seed=2" in capsys.readouterr().err


def test_a_job_that_is_signalled_saves_is_requeued_and_goes_on(tmp_path, monkeypatch):
    """Run a job with submitit's local executor, which requeues as SLURM does."""
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setattr(slurm, "PROGRAM", (sys.executable, str(tmp_path / "program.py")))
    monkeypatch.chdir(tmp_path)
    import cloudpickle

    cloudpickle.register_pickle_by_value(slurm)  # so that the job's process has the stand-in too
    try:
        request = {"timeout_min": 1, "max_num_timeout": 3}
        (job,) = slurm.submit([["pretrain"]], request, tmp_path / "logs", 0, "local")
    finally:
        cloudpickle.unregister_pickle_by_value(slurm)
    wait_for(tmp_path / "ready")
    for child in find_children(job._process.pid):
        os.kill(child, signal.SIGUSR2)
    assert job.result() == 0
    assert (tmp_path / "saved").exists() and (tmp_path / "starts").read_text() == "2"


def wait_for(file: Path) -> None:
    """Wait until a file exists."""
    limit = time.monotonic() + 30
    while not file.exists():
        assert time.monotonic() < limit
        time.sleep(0.02)


def find_children(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(line) for line in subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True,
                                                 text=True).stdout.split()]  # fmt: skip


def test_a_job_is_stored_without_its_process():
    job = slurm.SlurmJob(["pretrain"], "/")
    job.process = object()
    assert pickle.loads(pickle.dumps(job)).process is None


@pytest.mark.parametrize("text, minutes", [
    ("90", 90), ("36h", 2160), ("2d", 2880), ("12:00", 720), ("12:30:00", 750), ("2-12:00:00", 3600), ("0:00:30", 1),
])  # fmt: skip
def test_times_are_read_as_slurm_writes_them(text, minutes):
    assert parse_time(text) == minutes


@pytest.mark.parametrize("overrides, option", [
    (["launcher=slurm", "slurm.time=soon"], "slurm.time"),
    (["launcher=slurm", "slurm.time=0"], "slurm.time"),
    (["launcher=slurm", "slurm.nodes=0"], "slurm.nodes"),
    (["launcher=slurm", "slurm.gpu=8"], "slurm.gpu"),
    (["launcher=pbs"], "launcher"),
    (["slurm.nodes=2"], "slurm.nodes"),
])  # fmt: skip
def test_a_wrong_option_is_one_sentence(overrides, option):
    with pytest.raises(UserError) as error:
        launch.take_launcher(overrides)
    assert error.value.option == option and len(str(error.value)) < 400 and "is not valid:" not in str(error.value)


def test_a_machine_without_slurm_or_submitit_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no sbatch and no srun") as error:
        slurm.check_slurm()
    assert error.value.status == ExitCode.DEVICE
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=re.escape("pip install submitit")):
        slurm.check_slurm()
