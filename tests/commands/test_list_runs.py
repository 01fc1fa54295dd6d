"""runs: the state of each run comes from its files, and nothing is deleted without an answer."""

import json
import os
import signal

import pytest

import vitrun
from helpers.processes import CommandProcess, read_error_line, start_pretraining, wait_for_steps
from helpers.runs import pretrain_tiny
from vitrun.commands import list_runs as command
from vitrun.config import resolve
from vitrun.errors import UserError
from vitrun.runs.run_files import load_result
from vitrun.runtime.console import Screen


def list_runs(tmp_path, *overrides: str) -> dict[str, dict]:
    """Return the runs by name."""
    return {run["name"]: run for run in vitrun.list_runs(overrides, runs=tmp_path / "runs")}


def test_a_run_is_running_then_stopped_and_its_steps_are_counted(tmp_path):
    process = start_pretraining(tmp_path / "runs")
    wait_for_steps(tmp_path / "runs", 2)
    (status,) = list_runs(tmp_path).values()
    assert status["state"] == "running" and status["steps"] == 40 and status["step"] >= 2
    assert status["images_per_second"] > 0 and status["seconds_left"] > 0 and status["loss"] > 0
    with pytest.raises(UserError, match="already running"):
        remove(tmp_path, status["name"])
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (status,) = list_runs(tmp_path).values()
    assert status["state"] == "stopped" and status["seconds_left"] is None


def remove(tmp_path, *names: str) -> None:
    """Delete runs without a question."""
    overrides = [f"remove=[{','.join(names)}]", "ask=false", f"runs={tmp_path / 'runs'}"]
    command.execute(resolve.resolve_recipe("runs", overrides), Screen(quiet=True))


def test_finished_failed_and_damaged_runs_have_their_states(run_command, tmp_path):
    finished = pretrain_tiny(run_command)
    result = load_result(finished)
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "recipe.yaml").write_text("[")
    runs = list_runs(tmp_path)
    assert runs[finished.name]["state"] == "finished" and runs[finished.name]["top1"] == result["top1"]
    assert runs["damaged"]["state"] == "damaged" and "recipe.yaml is damaged" in runs["damaged"]["error"]
    assert [*list_runs(tmp_path, "states=finished")] == [finished.name]
    assert [*list_runs(tmp_path, "only=dam")] == ["damaged"]
    with open(finished / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"failed": "no room", "status": 6}) + "\n")
    (finished / "result.json").unlink()
    assert (list_runs(tmp_path)[finished.name]["state"], list_runs(tmp_path)[finished.name]["error"]) == (
        "failed",
        "no room",
    )


def test_runs_are_deleted_only_after_an_answer(run_command, tmp_path):
    run = pretrain_tiny(run_command)
    process = CommandProcess("runs", "rm", run.name, f"runs={tmp_path / 'runs'}")
    process.wait()
    assert "add ask=false" in read_error_line(process, 2) and run.is_dir() and "MB" in process.stdout
    with pytest.raises(UserError, match="There is no run 'pretrain'"):
        remove(tmp_path, "pretrain")
    remove(tmp_path, "pretrain-*")
    assert not run.exists()


@pytest.mark.parametrize("arguments", [["rm"], ["delete", "x"], ["rm", "x"]])
def test_wrong_arguments_are_one_error(tmp_path, arguments):
    process = CommandProcess("runs", *arguments, f"runs={tmp_path}")
    process.wait()
    read_error_line(process, 2)
