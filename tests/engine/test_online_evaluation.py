"""Evaluation during training changes no bit, keeps the best weights, ends a run early, and survives a kill."""

import csv
import json
import re
import shutil

import pytest

from helpers.overrides import SCRATCH, TINY
from helpers.processes import start_ranks
from helpers.runs import hash_weights, run_folder
from vitrun.engine import online_evaluation, progress, trainer
from vitrun.engine.evaluation_record import Evaluation, EvaluationRecord
from vitrun.errors import ExitCode, UserError
from vitrun.runs import lookup
from vitrun.runs.history import read_history
from vitrun.runs.metrics import Metric
from vitrun.runs.status import read_status
from vitrun.runtime import console
from vitrun.runtime.files import hash_file

RUN = [*TINY, "ema=0.5", "model.dropout=0.1"]
BEST = ["eval.every=2", "keep=best"]


def read_evaluations(folder) -> list[dict]:
    """Return the lines of evaluations in ``metrics.jsonl``."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "eval_loss" in line or "eval_masked_loss" in line]


def test_evaluations_change_no_bit_and_the_last_equals_the_result(run_command, monkeypatch):
    recipe, without = run_command("pretrain", *RUN)
    folder = run_folder(recipe, "pretrain")
    weights, kept = hash_weights(folder.parent), folder.rename(folder.with_name("without"))
    monkeypatch.setattr(console, "PROGRESS_LINE_SECONDS", 0)
    evaluated, result = run_command("pretrain", *RUN, "eval.every=2")
    assert run_folder(evaluated, "pretrain") == folder, "what is computed is the same, so is the name"
    shutil.rmtree(kept)
    assert hash_weights(folder.parent) == weights and without["loss"] == result["loss"]
    assert [line["step"] for line in read_evaluations(folder)] == [2, 4, 6]
    for name in ("top1", "top5", "loss"):
        assert result[f"eval_{name}"] == result[name] == read_evaluations(folder)[-1][f"eval_{name}"]
    assert dict(read_history(folder).measured["eval_loss"])[6] == result["loss"]
    last = f"eval top1 {100 * read_evaluations(folder)[0]['eval_top1']:.2f} %"
    assert re.search(rf"pretrain 3/6  .* left  loss [\d.]+  {last}  lr ", (folder / "log.txt").read_text())
    rows = {row["step"]: row for row in csv.DictReader((folder / "metrics.csv").read_text().splitlines())}
    assert float(rows["6"]["eval_loss"]) == result["loss"] and rows["5"]["eval_loss"] == "" != rows["6"]["norm"]


@pytest.fixture
def first_is_best(monkeypatch):
    """Let no evaluation be better than the first."""
    monkeypatch.setattr(Evaluation, "is_better_than", lambda self, other: False)


def test_with_keep_best_the_result_and_init_are_of_the_best_weights_and_the_last_ones_can_be_chosen(
    run_command, first_is_best
):
    recipe, result = run_command("pretrain", *RUN, *BEST)
    folder = run_folder(recipe, "pretrain")
    (checkpoint,) = folder.glob("checkpoints/step-*")
    manifest = json.loads((checkpoint / "MANIFEST.json").read_text())["files"]
    assert manifest["best.safetensors"]["blake3"] == hash_file(checkpoint / "best.safetensors")
    first, _, last = read_evaluations(folder)
    assert (
        result["eval_best_step"] == first["step"] == 2 and result["loss"] == result["eval_loss"] == first["eval_loss"]
    )
    for choice, line in (("auto", first), ("best", first), ("ema", last)):
        assert run_command("eval", f"init={folder.name}", f"init_weights={choice}")[1]["loss"] == line["eval_loss"]
    note = lookup.describe_choice(checkpoint / "best.safetensors")
    assert note.startswith("the weights of the best evaluation, at step 2;") and "init_weights=plain" in note
    assert "of the last step, 6; the others are init_weights=best" in lookup.describe_choice(
        checkpoint / "ema.safetensors"
    )
    plain, _ = run_command("pretrain", *RUN)
    with pytest.raises(UserError, match="has no such weights: .*auto or ema or plain") as error:
        run_command("eval", f"init={run_folder(plain, 'pretrain').name}", "init_weights=best")
    assert error.value.option == "init_weights"


@pytest.mark.parametrize("moment", ["in an evaluation", "after an evaluation", "before the test"])
def test_a_run_that_is_killed_ends_with_the_same_best_weights_and_stops_at_the_same_step(
    run_command, first_is_best, monkeypatch, moment
):
    overrides = [*RUN, "eval.every=1", "keep=best", "eval.patience=3", "save_minutes=0"]
    recipe, whole = run_command("pretrain", *overrides)
    folder = run_folder(recipe, "pretrain")
    weights = hash_weights(folder.parent)
    assert whole["stopped_early_at"] == whole["steps"] == 4 and whole["eval_best_step"] == 1 and len(weights) == 3
    assert "Stopping at step 4 of 6: 3 evaluations without a gain over " in (folder / "log.txt").read_text()
    shutil.rmtree(folder)
    place, name, calls = {
        "in an evaluation": (online_evaluation.OnlineEvaluation, "evaluate", 3),
        "after an evaluation": (progress.Meter, "record_step", 4),
        "before the test": (trainer.Trainer, "test", 1),
    }[moment]
    function = getattr(place, name)

    def kill(*arguments):
        nonlocal calls
        calls -= 1
        if not calls:
            raise KeyboardInterrupt
        return function(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(place, name, kill)
        run_command("pretrain", *overrides)
    _, result = run_command("pretrain", *overrides)
    assert hash_weights(folder.parent) == weights
    times = {"seconds", "images_per_second", "waiting", "eval_seconds", "metrics"}
    assert {k: v for k, v in result.items() if k not in times} == {k: v for k, v in whole.items() if k not in times}


def test_held_out_images_choose_if_there_are_any_and_the_log_names_them(run_command):
    overrides = [
        SCRATCH,
        "data=shapes",
        "data.train_images=100",
        "data.test_images=40",
        "steps=4",
        "batch=16",
        "res=32",
    ]
    recipe, result = run_command("finetune", *overrides, "eval.every=50%", "dev=0.2", "keep=best")
    folder = run_folder(recipe, "finetune")
    assert "evaluation: after 50% of the steps, on 20 images held out of training" in (folder / "log.txt").read_text()
    assert result["test_images"] == 40 and [line["step"] for line in read_evaluations(folder)] == [2, 4]
    recipe, _ = run_command("finetune", *overrides, "eval.every=2", "eval.patience=1")
    text = (run_folder(recipe, "finetune") / "log.txt").read_text()
    assert "every 2 steps, on the 40 test images, as none are held out of training; a choice by test images" in text


def test_masked_patches_are_compared_by_their_loss_of_which_the_lowest_is_best(run_command):
    recipe, result = run_command("pretrain", *RUN, *BEST, "objective=masked")
    lines = read_evaluations(run_folder(recipe, "pretrain"))
    best = min(lines, key=lambda line: line["eval_masked_loss"])
    assert result["eval_best_step"] == best["step"]
    assert result["masked_loss"] == result["eval_best_masked_loss"] == best["eval_masked_loss"]


def test_the_status_of_a_run_has_the_accuracy_of_the_last_evaluation(run_command, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer.Trainer, "test", stop)
        run_command("pretrain", *RUN, "eval.every=2")
    (folder,) = (tmp_path / "runs").iterdir()
    assert read_status(folder).top1 == read_evaluations(folder)[-1]["eval_top1"]


@pytest.mark.parametrize("option, override", [("keep", "keep=best"), ("eval.patience", "eval.patience=3")])
def test_what_chooses_needs_evaluations(run_command, option, override):
    with pytest.raises(UserError, match="add eval.every=10%") as error:
        run_command("pretrain", *RUN, override)
    assert error.value.option == option and error.value.status == ExitCode.COMMAND


def test_of_equal_evaluations_the_first_is_best_and_one_that_is_not_finite_is_an_error():
    record = EvaluationRecord()
    for step, top1 in enumerate([0.5, 0.7, 0.7, 0.6]):
        record = record.add(Evaluation.of_result(step, {"top1": Metric(top1, "share"), "test_images": 10}))
    assert (record.best.step, record.last.step, record.without_gain) == (1, 3, 2)
    assert EvaluationRecord.from_counters(json.loads(json.dumps(record.to_counters()))) == record
    with pytest.raises(UserError, match="after step 4 gives top1 nan") as error:
        Evaluation.of_result(4, {"top1": Metric(float("nan"))})
    assert error.value.status == ExitCode.NUMERICS


def test_ranks_evaluate_and_stop_alike(tmp_path):
    overrides = [*RUN, "eval.every=1", "eval.patience=1", "keep=best", "optim.lr=1e-9", f"runs={tmp_path}"]
    ranks = start_ranks(2, "pretrain", *overrides)
    outputs = [rank.wait() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], outputs
    (folder,) = tmp_path.iterdir()
    result = json.loads((folder / "result.json").read_text())["result"]
    lines = read_evaluations(folder)
    assert result["stopped_early_at"] == len(lines) < 6 and result["test_images"] == 50
    assert result["eval_best_top1"] == max(line["eval_top1"] for line in lines) == result["top1"]
