"""A sweep checks all jobs before the first, runs each as a process, and reports those that failed."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from helpers.paths import ROOT
from helpers.processes import read_error_line, signal_after_steps, start_pretraining
from vitrun.cli import multirun
from vitrun.cli.dispatch import RUN_COMMANDS
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runs import jobs, run
from vitrun.runtime import subprocesses

FEWSHOT = ["init=random:vit_nano8", "shots=1", "seeds=0", "data.test_images=20"]


def test_a_sweep_is_checked_before_its_first_job(vitrun, tmp_path):
    assert "seed=x: " in read_error_line(vitrun("pretrain", "-m", "seed=0,x"), 2)
    assert not list(tmp_path.iterdir())


def test_a_failed_job_is_named_at_the_end_and_stops_no_other(vitrun, tmp_path):
    # Damaged weights are found when a job loads them: tested here too, since a process takes seconds to start.
    (tmp_path / "half.safetensors").write_bytes(b"\x00" * 7)
    done = vitrun("fewshot", "-m", *FEWSHOT[1:], "res=32", "init=half.safetensors,random:vit_nano8", "--json")
    lines = done.stderr.splitlines()
    assert done.returncode == 4 and "Traceback" not in done.stderr
    assert lines[0].startswith("[1/2] vitrun fewshot ") and lines[0].endswith("init=half.safetensors")
    assert "half.safetensors: " in lines[1]
    assert any(line.startswith("[2/2] vitrun fewshot ") and line.endswith("init=random:vit_nano8") for line in lines)
    assert any("init=half.safetensors failed: exit status 4" in line for line in lines)
    assert "1 of 2 jobs failed: vitrun fewshot " in lines[-1] and "init=half.safetensors." in lines[-1]
    (folder,) = (path.parent for path in (tmp_path / "runs").glob("fewshot-*/result.json"))
    failed, result = map(json.loads, done.stdout.splitlines())
    assert "half.safetensors" in failed["error"] and failed["run"].startswith("fewshot-")
    assert failed["status"] == 4 and failed["overrides"][-1] == "init=half.safetensors"
    assert result["run"] == folder.name and 0 < result["shot1"] < 1


PROGRAM = """
import json, os, sys, time
start = time.time()
print("on stderr", file=sys.stderr)
time.sleep(0.3)
if "--json" in sys.argv:
    print(json.dumps({"top1": 0.5}, indent=2))
else:
    print("cores", os.environ["OMP_NUM_THREADS"], "from", start, "to", time.time())
sys.exit(3 * ("seed=2" in sys.argv))
"""


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Replace ``vitrun`` in the processes of a sweep."""
    monkeypatch.setattr(subprocesses, "PROGRAM", (sys.executable, "-S", "-c", PROGRAM))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.chdir(tmp_path)


def test_jobs_run_at_once_up_to_their_number_and_print_it_before_their_lines(program, capfd):
    with pytest.raises(UserError, match="1 of 4 jobs failed: .*seed=2") as error:
        multirun.run_combinations("pretrain", ["seed=range(0,4)", "jobs=2"], False, [], True)
    assert error.value.status == 3
    shown = capfd.readouterr()
    assert "[1/4] vitrun pretrain seed=0" in shown.err and "[4/4] on stderr" in shown.err
    lines = re.findall(r"^\[(\d)/4\] cores (\d+) from (\S+) to (\S+)$", shown.out, re.MULTILINE)
    times = [(float(start), float(end)) for _, _, start, end in lines]
    assert sorted(number for number, *_ in lines) == ["1", "2", "3", "4"]
    assert {int(cores) for _, cores, *_ in lines} == {max(1, len(os.sched_getaffinity(0)) // 2)}
    at_once = [sum(start <= moment < end for start, end in times) for moment, _ in times]
    assert max(at_once) <= 2


def test_a_sweep_prints_a_line_of_json_for_each_job(program, capfd):
    with pytest.raises(UserError):
        multirun.run_combinations("pretrain", ["seed=1,2"], False, ["--json"], True)
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert rows[0] == {"overrides": ["seed=1"], "top1": 0.5}
    assert rows[1]["overrides"] == ["seed=2"] and rows[1]["status"] == 3


def test_a_quiet_sweep_prints_its_table(monkeypatch, tmp_path, capsys):
    result = {"metrics": {"top1": {"mean": 0.5, "unit": "share"}}, "top1": 0.5}
    monkeypatch.setattr(multirun, "execute_as_process", lambda *arguments: result)
    multirun.run_combinations("pretrain", ["seed=0,1", f"runs={tmp_path}"], False, ["--quiet"], True)
    assert [line.count("50.0") for line in capsys.readouterr().out.splitlines() if "50" in line] == [1, 1]


def test_a_sweep_ends_with_the_command_that_averages_over_its_seeds(monkeypatch, tmp_path, capsys):
    result = {"metrics": {"top1": {"mean": 0.5, "unit": "share"}}, "top1": 0.5}
    monkeypatch.setattr(multirun, "execute_as_process", lambda *arguments: result)
    multirun.run_combinations("pretrain", ["seed=0,1", f"runs={tmp_path}"], False, [], True)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"Next: vitrun compare runs={tmp_path} (mean and standard deviation over seeds)"


def test_the_table_of_a_sweep_has_a_column_for_each_option_that_varies():
    varied = {"a": {"seed": "0", "optim.lr": "0.1"}, "b": {"seed": "1", "optim.lr": "0.2"}}
    top1 = {"metrics": {"top1": {"mean": 0.5, "unit": "share"}}, "top1": 0.5}
    lines = jobs.tabulate_sweep(varied, {"a": top1, "b": top1}).splitlines()
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == ["seed", "optim.lr", "top1"]
    assert [cell.strip() for cell in lines[3].strip("|").split("|")] == ["1", "0.2", "50.0"]


@pytest.mark.parametrize("overrides", [["jobs=0"], ["jobs=x"], ["jobs=2", "jobs=2"]], ids=" ".join)
def test_a_wrong_number_of_jobs_is_refused(overrides):
    with pytest.raises(UserError) as error:
        multirun.run_combinations("pretrain", [*overrides, "seed=0,1"], False, [], True)
    assert error.value.option == "jobs" and error.value.status == 2


SAME = [
    ("pretrain", "epochs=1,1.0", "epochs=1 and epochs=1.0 are the same run, pretrain-vit_nano8-shapes-"),
    ("pretrain", "device=cpu,auto", "device=cpu and device=auto are the same run"),
    ("pretrain", "model=vit_nano8,vit_s16 model.depth=12 model.width=384 model.heads=6", None),
    ("finetune", "init=random:vit_nano8 grid=[0.1,0.2],[0.1,0.20] dev=0.1", "grid=[0.1,0.2] and grid=[0.1,0.20] are"),
    ("models", "res=32,032", "res=32 and res=032 are the same job"),
]


@pytest.mark.parametrize("command, overrides, message", SAME, ids=[overrides for _, overrides, _ in SAME])
def test_two_jobs_that_are_the_same_are_refused_with_the_overrides_that_differ(command, overrides, message):
    combinations = multirun.check_combinations(command, overrides.split(), command in RUN_COMMANDS, running=True)
    if message is None:
        multirun.check_distinct(combinations)
        assert len({job.folder for job in combinations}) == len(combinations) == 2
        return
    with pytest.raises(UserError, match=re.escape(message)) as error:
        multirun.check_distinct(combinations)
    assert error.value.status == 2


def test_ctrl_c_stops_a_sweep_which_names_failed_jobs_and_can_be_continued(tmp_path):
    overrides = ["data.train_images=64", "data.test_images=20", "batch=8", "steps=2000", "warmup=1"]
    name = run.run_name("pretrain", resolve.resolve_recipe("pretrain", [*overrides, "optim.lr=0.001"]))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "vitrun", "pretrain", "-m", *overrides, "optim.lr=1e30,0.001"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, start_new_session=True, text=True, stderr=subprocess.PIPE
    )
    metrics = tmp_path / "runs" / name / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and '"step"' in metrics.read_text()):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    errors = process.communicate()[1]
    assert process.returncode == 130 and "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("Stopped. To continue: vitrun pretrain -m data.train_images=64 ")
    assert any((metrics.parent / "checkpoints").iterdir()), "the interrupted job saved a checkpoint"
    (failed,) = re.findall(r"vitrun pretrain .*optim.lr=1e30 failed: exit status 5, see (.*)", errors)
    assert "stopped: Step " in (tmp_path / failed).read_text()


def test_the_weights_of_a_sweep_are_those_of_its_start(monkeypatch, tmp_path):
    names = iter(["pretrain-a-b-1", "pretrain-a-b-1"])  # a third lookup could find a newer run
    monkeypatch.setattr("vitrun.runs.init_resolution.find_latest_run", lambda runs, command, option: next(names))
    started = []
    monkeypatch.setattr(subprocesses, "run_process", lambda command, overrides, silent: started.append(overrides) or 0)
    overrides = ["seed=0,1", "data=digits", f"runs={tmp_path}"]
    multirun.run_combinations("finetune", overrides, False, ["--quiet"], True)
    assert started == [[f"seed={n}", *overrides[1:], "init=pretrain-a-b-1", "--quiet"] for n in (0, 1)]


@pytest.mark.parametrize(
    "number, send",
    [
        (signal.SIGINT, os.killpg),
        (signal.SIGINT, os.kill),
        (signal.SIGTERM, os.killpg),
        (signal.SIGTERM, os.kill),
        (signal.SIGKILL, os.kill),  # of the sweep alone, whose job stops then
    ],
)
def test_a_stopped_sweep_lets_its_job_save_and_starts_no_other(tmp_path, number, send):
    process = start_pretraining(tmp_path, "-m", "seed=0,1")
    output = signal_after_steps(process, tmp_path, 3, number, send)
    codes = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED, signal.SIGKILL: -9}
    assert process.returncode == codes[number]
    assert "Saved step" in output and "[2/2]" not in output and "Traceback" not in output
