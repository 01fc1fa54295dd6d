"""Trackers show the steps of a run, also of one that was resumed; one that fails costs a warning and no run."""

import csv
import importlib.util
import json
import os
import signal
import sqlite3
import time

import pytest

from helpers.overrides import TINY
from helpers.processes import CommandProcess, signal_after_steps, start_pretraining
from helpers.runs import pretrain_tiny
from vitrun.runs import tracking
from vitrun.runs.run_files import load_result


def needs(package: str):
    """Skip a test where a package is not installed, with the reason."""
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


def read_losses(folder) -> dict[int, float]:
    """Return the loss of each step of a run; the last attempt counts."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if "norm" in line}


@needs("tensorboard")
def test_tensorboard_reads_every_step_once_after_a_kill_and_the_table_has_them_too(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    signal_after_steps(start_pretraining(tmp_path, "track=tensorboard"), tmp_path, 3, signal.SIGKILL)
    start_pretraining(tmp_path, "track=tensorboard").wait()
    (run,) = tmp_path.glob("pretrain-*")
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    losses = read_losses(run)
    assert {event.step: pytest.approx(event.value) for event in events.Scalars("loss")} == losses
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 41))
    assert events.Scalars("result/top1")[0].value == pytest.approx(load_result(run)["top1"])
    with open(run / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {int(row["step"]): float(row["loss"]) for row in rows if row["loss"]} == losses


@needs("mlflow")
def test_mlflow_has_the_options_the_steps_and_the_result_in_its_local_store(run_command, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    run = pretrain_tiny(run_command, "track=mlflow")
    client = MlflowClient()
    (tracked,) = client.search_runs([client.get_experiment_by_name("vitrun").experiment_id])
    history = client.get_metric_history(tracked.info.run_id, "loss")
    assert {point.step: point.value for point in history} == read_losses(run)
    assert tracked.data.params["model.name"] == "vit_nano8" and tracked.info.status == "FINISHED"
    assert tracked.data.metrics["result/top1"] == load_result(run)["top1"]


@needs("wandb")
def test_wandb_writes_a_run_offline(run_command, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = pretrain_tiny(run_command, "track=wandb")
    (file,) = run.glob("wandb/offline-run-*/run-*.wandb")
    key = json.loads((run / "about.json").read_text())["tracked_as"]
    assert file.name == f"run-{key}.wandb"
    deadline = time.monotonic() + 20
    while b"result/top1" not in file.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.1)  # wandb's own process writes it, which may be late on a busy machine
    assert b"result/top1" in file.read_bytes()


def test_a_tracker_that_fails_is_named_once_and_the_run_ends_as_without_it(run_command, monkeypatch, capsys):
    class Failing:
        def __init__(self, run):
            self.calls = 0

        def log(self, step, values):
            raise RuntimeError("the server is down")

    def missing(run):
        raise ModuleNotFoundError("No module named 'trackio'")

    monkeypatch.setitem(tracking.TRACKERS, "wandb", Failing)
    monkeypatch.setitem(tracking.TRACKERS, "trackio", missing)
    run = pretrain_tiny(run_command, "track=wandb,trackio")
    warnings = capsys.readouterr().err.splitlines()
    assert [line.partition(" failed")[0] for line in warnings] == ["track=trackio", "track=wandb"]
    assert "pip install 'vitrun[trackio]'" in warnings[0] and load_result(run)["top1"] >= 0


@needs("trackio")
def test_trackio_stores_the_steps_on_this_machine_and_prints_nothing_into_the_output(tmp_path):
    arguments = ["pretrain", *TINY, "track=trackio", "--json", f"runs={tmp_path / 'runs'}"]
    process = CommandProcess(*arguments, environment=os.environ | {"TRACKIO_DIR": str(tmp_path / "trackio")})
    process.wait()
    result = json.loads(process.stdout)
    with sqlite3.connect(tmp_path / "trackio" / "vitrun.db") as store:
        rows = [(step, json.loads(text)) for step, text in store.execute("SELECT step, metrics FROM metrics")]
    assert {step: values["loss"] for step, values in rows if "norm" in values} == read_losses(
        tmp_path / "runs" / result["run"]
    )
    assert rows[-1][1]["result/top1"] == result["top1"] and not process.stderr
