"""Finished runs side by side: which are averaged, in which options they differ, what is left out and why."""

from functools import partial

import pytest
import yaml

from helpers.runs import write_finished_run
from vitrun.papers import names
from vitrun.recipes import macs
from vitrun.recipes import tables as tables_of_models
from vitrun.runs.comparison import compare_runs
from vitrun.runs.metrics import Metric
from vitrun.runs.results import Reason

TOP1 = {"top1": Metric(0.5, "share")}
FINETUNE = ("finetune", "init=random:vit_nano8", "res=32")


@pytest.fixture
def write_run(tmp_path):
    return partial(write_finished_run, tmp_path / "runs", more={})


def test_only_runs_that_differ_in_nothing_but_the_seed_are_averaged(tmp_path, write_run):
    changes = ((), ("seed=1",), ("optim.lr=0.001",), ("batch=64",), ("augment.mixup=0.1",), ("data.test_images=40",))
    for number, change in enumerate(changes):
        write_run((*FINETUNE, *change), {"top1": Metric(0.5 + number / 100, "share")})
    write_run((*FINETUNE, "seed=2"), {"top1": Metric(0.6, "share")}, images="other images")
    (table,) = compare_runs(tmp_path / "runs").tables
    assert sorted(len(row.runs) for row in table.rows) == [1, 1, 1, 1, 1, 2]
    (both,) = (row for row in table.rows if len(row.runs) == 2)
    assert both.metrics["top1"].mean == pytest.approx(0.505)
    assert both.metrics["top1"].std == pytest.approx(0.0070711, abs=1e-6)
    assert {*table.options} == {"optim.lr", "batch", "augment.mixup", "data.test_images", "train_data"}
    assert all({*row.options} == {*table.options} for row in table.rows)


def test_every_command_and_data_set_is_shown_with_its_cost(tmp_path, write_run):
    pretrained = write_run(("pretrain", "steps=10"), TOP1 | {"steps": 10, "seconds": Metric(1.5, "seconds")})
    write_run(("finetune", f"init={pretrained}", "data=digits"), TOP1)
    write_run(("eval", f"init={pretrained}"), TOP1)
    write_run(("fewshot", f"init={pretrained}", "data=digits"), {"shot5": Metric(0.4, "share", 0.1)})
    write_run(("pretrain", "objective=simmim", "steps=10"), {"masked_loss": Metric(0.2)})
    tables = compare_runs(tmp_path / "runs").tables
    shown = {(table.data, row.labels["command"], table.metrics) for table in tables for row in table.rows}
    assert shown == {
        ("shapes", "pretrain", ("top1",)),
        ("shapes", "eval", ("top1",)),
        ("shapes", "pretrain", ("masked_loss",)),
        ("digits", "finetune", ("top1",)),
        ("digits", "fewshot", ("shot5",)),
    }
    (cost,) = (row.cost for table in tables for row in table.rows if row.runs == (pretrained,))
    assert (cost.steps, cost.images, cost.seconds) == (10, 1280, 1.5)
    assert cost.exaflop == macs.count_exaflop(
        macs.count_macs(tables_of_models.load_model_row("vit_nano8"), 0, 32), 1280
    )


def test_every_run_is_shown_or_left_out_with_its_reason(tmp_path, write_run):
    write_run(("pretrain",), TOP1)
    reasons = {Reason.UNFINISHED: "", Reason.FAILED: '{"failed": "the loss is NaN"}\n', Reason.DAMAGED: ""}
    for seed, (reason, line) in enumerate(reasons.items(), 1):
        folder = tmp_path / "runs" / write_run(("pretrain", f"seed={seed}"), TOP1)
        (folder / "metrics.jsonl").write_text('{"step": 3}\n' + line)
        if reason is Reason.DAMAGED:
            (folder / "result.json").write_text("{")
        else:
            (folder / "result.json").unlink()
    write_run(("dedup", "data=digits", "against=digits"), TOP1)
    write_run(FINETUNE, {"bad_images": 0})
    comparison = compare_runs(tmp_path / "runs")
    assert {run.reason for run in comparison.left_out} == {*reasons, Reason.COMMAND, Reason.METRIC}
    shown = [name for table in comparison.tables for row in table.rows for name in row.runs]
    everything = sorted(folder.name for folder in (tmp_path / "runs").iterdir())
    assert sorted([*shown, *(run.name for run in comparison.left_out)]) == everything
    assert next(run.detail for run in comparison.left_out if run.reason is Reason.FAILED) == "the loss is NaN"


def test_a_search_is_shown_by_its_final_runs_and_by_itself_if_they_are_gone(tmp_path, write_run):
    runs, result = tmp_path / "runs", TOP1 | {"finals": [{"seed": 0, "top1": 0.5}]}
    for overrides in (("grid=[0.01,0.1]", "dev=0.1"), ("score=dev", "dev=0.1"), ("optim.lr=0.1",)):
        write_run((*FINETUNE, *overrides), result)
    comparison = compare_runs(runs)
    assert [len(row.runs) for table in comparison.tables for row in table.rows] == [1]
    assert {run.reason for run in comparison.left_out} == {Reason.TRIAL, Reason.COMPOUND}
    (final,) = (name for table in comparison.tables for row in table.rows for name in row.runs)
    (runs / final / "result.json").unlink()
    comparison = compare_runs(runs)
    (name,) = (name for table in comparison.tables for row in table.rows for name in row.runs)
    assert yaml.safe_load((runs / name / "recipe.yaml").read_text())["grid"] == [0.01, 0.1]


def test_runs_whose_weights_differ_in_a_seed_or_option_name_it(tmp_path, write_run):
    for overrides in (("seed=0",), ("seed=1",), ("seed=0", "optim.lr=0.01")):
        pretrained = write_run(("pretrain", *overrides), TOP1)
        write_run(("finetune", f"init={pretrained}", "data=digits"), TOP1)
    (table,) = (table for table in compare_runs(tmp_path / "runs").tables if table.data == "digits")
    assert {*table.options} == {"init.seed", "init.optim.lr"} and len(table.rows) == 3
    assert len({tuple(row.options.items()) for row in table.rows}) == 3


def test_runs_are_selected_by_patterns_or_parts_of_their_names(tmp_path, write_run):
    name = write_run(("pretrain",), TOP1)
    write_run(FINETUNE, TOP1)
    for pattern in ("pretrain-*", "shapes", name[-8:]):
        comparison = compare_runs(tmp_path / "runs", only=[pattern])
        assert [row.runs for table in comparison.tables for row in table.rows] == [(name,)]
        assert [run.reason for run in comparison.left_out] == [Reason.UNSELECTED]


def test_the_tasks_of_vtab_are_one_row_of_means_a_setting(tmp_path, write_run):
    for number, (task, paper) in enumerate(names.VTAB_TASKS.items()):
        is_twice = paper in names.VTAB_GROUPS["VTAB specialized"]
        for rate in ("0.01", "0.001") if is_twice else ("0.01",):
            overrides = (*FINETUNE, f"data={task}", "data.root={here}", f"optim.lr={rate}")
            write_run(overrides, {"top1": Metric(number / 100, "share")})
    (table,) = compare_runs(tmp_path / "runs").tables
    assert table.data == "VTAB-1k" and table.options == ("optim.lr",)
    whole, part = table.rows
    assert [len(row.runs) for row in (whole, part)] == [19, 4]
    assert (whole.options["optim.lr"], part.options["optim.lr"]) == ("0.01", "0.001")
    assert {*whole.metrics} == {*names.VTAB_GROUPS, names.VTAB_MEAN} and {*part.metrics} == {"VTAB specialized", "mean"}
    assert whole.metrics["VTAB (19)"].mean == pytest.approx(0.09)
