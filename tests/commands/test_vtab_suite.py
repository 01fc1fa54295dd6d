"""VTAB as a suite: one process per task, missing tasks named, and means over groups and all tasks."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from helpers.processes import run_forked
from vitrun.commands import compare, finetune, vtab_suite
from vitrun.config import expand, resolve
from vitrun.errors import ExitCode, UserError
from vitrun.papers.vtab_tasks import TASKS
from vitrun.recipes import tables
from vitrun.runs import execution, metrics, run
from vitrun.runs.metrics import Metric
from vitrun.runtime import subprocesses
from vitrun.runtime.console import Screen

SCRATCH = "init=random:vit_nano8"
FAST = [SCRATCH, "res=16", "batch=16", "epochs=null", "steps=2", "warmup=1", "seeds=0,1"]
VPT = ["data.protocol=vpt", "data.crop=none", "data.flip=false"]
COPIES = {
    "dtd": {"train": 60, "validation": 20, "test": 30},
    "oxford_flowers102": {"train": 50, "validation": 9, "test": 21},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Write copies of two originals, a few images of different sizes each; the other originals are missing."""
    root = tmp_path_factory.mktemp("originals")
    generator = np.random.default_rng(0)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])})
    for builder, sizes in COPIES.items():
        (root / builder).mkdir()
        for split, size in sizes.items():
            images = []
            for n in range(size):
                path = root / f"{builder}_{split}_{n}.png"
                Image.fromarray(generator.integers(0, 255, (8 + n % 3, 9, 3), dtype=np.uint8)).save(path)
                images.append({"bytes": path.read_bytes(), "path": f"{split}/{n}.png"})
            rows = datasets.Dataset.from_dict({"image": images, "label": [n % 3 for n in range(size)]}, features)
            rows.to_parquet(root / builder / f"{split}-00000-of-00001.parquet")
    return root


def load(root: Path, runs: Path, *overrides: str):
    return resolve.resolve_recipe("finetune", ["data=vtab", f"data.root={root}", f"runs={runs}", *FAST, *overrides])


def run_command(recipe, screen=Screen(quiet=True)) -> dict:
    return execution.execute_run("finetune", recipe, screen, finetune.execute)


def test_finished_tasks_are_not_repeated_and_missing_ones_are_named(root, tmp_path, capfd):
    recipe = load(root, tmp_path, "data.tasks=pets,dtd,flowers102")
    dtd = run_command(expand.expand_suite(recipe)["dtd"])  # as if an earlier start was killed after this task
    result = run_command(recipe, Screen())
    output = capfd.readouterr().out
    assert "[1/1] flowers102" in output, "dtd is finished already"
    assert result["metrics"]["dtd"] == dtd["metrics"]["top1"]
    assert result["mean"] == pytest.approx((result["dtd"] + result["flowers102"]) / 2)
    assert result["tasks"] == "2/19" and not {"mean19", "natural"} & set(result)
    assert re.search(r"\| pets +\| natural +\| missing", output) and "all (2/19)" in output


def test_a_task_whose_original_was_added_is_run_and_finished_tasks_are_not_repeated(root, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(subprocesses, "run_process", run_forked)
    originals, runs = tmp_path / "originals", tmp_path / "runs"
    shutil.copytree(root / "dtd", originals / "dtd")
    recipe = load(originals, runs, "data.tasks=dtd,flowers102")
    compared = resolve.resolve_recipe(
        "compare", [f"runs={runs}", "paper=none", "rows=data", f"save={tmp_path / 'table'}", "force=true"]
    )
    shown = []
    for _ in range(2):
        first = run_command(recipe, Screen())
        compare.execute(compared, Screen())
        shown.append(capfd.readouterr().out)
        assert (first["tasks"], first["missing"]) == ("1/19", "flowers102")
        assert re.search(r"\| flowers102 +\| natural +\| missing", shown[-1]) and "is finished" not in shown[-1]
        assert "VTAB (1/19)" in shown[-1] and "VTAB (19)" not in shown[-1]
    assert ["[1/1] dtd" in output for output in shown] == [True, False]
    shutil.copytree(root / "oxford_flowers102", originals / "oxford_flowers102")
    both = run_command(recipe, Screen())
    output = capfd.readouterr().out
    assert "[1/1] flowers102" in output, "dtd is finished already"
    assert both["dtd"] == first["dtd"] and both["tasks"] == "2/19" and "missing" not in both
    assert run.Run("finetune", recipe, Screen()).result == both == run_command(recipe, Screen())
    assert "is finished" in capfd.readouterr().out


def test_a_failed_task_stops_no_other_is_named_and_is_tried_again(root, tmp_path, monkeypatch, capsys):
    recipe = load(root, tmp_path, "data.tasks=dtd,flowers102")
    monkeypatch.setattr(subprocesses, "run_process", lambda command, overrides, silent: ExitCode.NUMERICS)
    run_command(expand.expand_suite(recipe)["flowers102"])
    for _ in range(2):
        with pytest.raises(UserError, match="1 of 2 jobs failed: dtd") as error:
            run_command(recipe, Screen())
        output = capsys.readouterr().out
        assert error.value.status == ExitCode.NUMERICS and "[1/1] dtd" in output
        assert re.search(r"\| dtd +\| natural +\| failed \(5\)", output) and "all (1/19)" in output


def test_the_overrides_of_a_task_resolve_to_its_recipe(root, tmp_path):
    adamw = ["optim=adamw", "optim.betas=[0.9,0.95]", "ema=0.9", "save_minutes=0.5"]
    for overrides in ([], adamw, [*VPT, "grid=0.1,0.2"]):
        recipe = load(root, tmp_path, "data.tasks=pets,dspr_loc", *overrides)
        for task in expand.expand_suite(recipe).values():
            assert resolve.resolve_recipe("finetune", vtab_suite.build_overrides(task)) == task


def test_a_task_of_the_suite_has_the_recipe_that_its_own_overrides_make(root, tmp_path):
    tasks = expand.expand_suite(load(root, tmp_path, *VPT))
    assert list(tasks) == list(TASKS) == list(tables.read_row("data", "vtab")["tasks"])
    for name in ("caltech101", "snorb_azim", "dmlab"):
        overrides = [f"data=vtab/{name}", f"data.root={root}", f"runs={tmp_path}", *VPT, *FAST]
        assert tasks[name] == resolve.resolve_recipe("finetune", overrides)
    plain = expand.expand_suite(load(root, tmp_path, "data.flip=false"))
    assert not any(task.data.flip for task in plain.values()) and plain["pets"].data.crop == "square"


def test_the_suite_stops_with_its_task(root, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocesses, "run_process", lambda command, overrides, silent: ExitCode.INTERRUPTED)
    with pytest.raises(run.Interrupted) as stopped:
        run_command(load(root, tmp_path, "data.tasks=dtd"))
    assert stopped.value.status == ExitCode.INTERRUPTED


def test_a_dry_run_estimates_all_tasks_and_writes_nothing(root, tmp_path):
    recipe = load(root, tmp_path, "data.tasks=dtd,flowers102,pets")
    estimate = execution.execute_run("finetune", recipe, Screen(quiet=True), finetune.execute, dry=True)
    assert estimate["tasks"] == 2 and estimate["runs"] == 4 and estimate["hours"] > 0 and not any(tmp_path.iterdir())


def test_a_suite_without_any_original_is_refused(tmp_path):
    with pytest.raises(UserError, match="has none of the originals") as error:
        run_command(load(tmp_path, tmp_path / "runs"))
    assert error.value.status == ExitCode.DATA


def results(**changes: dict | None) -> dict[str, dict]:
    """Return results of all tasks at two seeds: the n-th has n percent, 30 for the first."""
    complete = {
        name: metrics.to_plain(
            {
                "top1": Metric(n / 100, "share", 0.01),
                "finals": [{"seed": seed, "top1": (n + step) / 100} for seed, step in ((0, -1), (1, 1))],
            }
        )
        for n, name in enumerate(TASKS, 30)
    }
    return {name: result for name, result in (complete | changes).items() if result}


def test_mean19_is_over_all_tasks_and_its_deviation_over_the_means_of_seeds():
    summary = vtab_suite.summarize_suite(results())
    assert summary["mean19"].mean == pytest.approx(0.39)
    assert summary["mean19"].std == pytest.approx(np.std([0.38, 0.40], ddof=1))
    groups = [summary[name].mean for name in ("natural", "specialized", "structured")]
    assert groups == pytest.approx([0.33, 0.385, 0.445]) and "mean" not in summary and "tasks" not in summary


def test_a_mean_with_a_missing_task_is_not_named_mean19_or_after_its_group():
    summary = vtab_suite.summarize_suite(results(pets=None))
    assert summary["tasks"] == "18/19" and "mean" in summary and not {"mean19", "natural", "pets"} & set(summary)
    shown = vtab_suite.format_results(results(pets=None), dict.fromkeys(TASKS, "missing"))
    assert re.search(r"\| pets +\| natural +\| missing +\|", shown) and "all (18/19)" in shown
    assert re.search(r"\| mean +\| natural \(6/7\) +\| - +\|", shown) and "30.00 ± 1.00" in shown


@pytest.mark.parametrize("command", ["pretrain", "fewshot", "eval", "dedup"])
def test_only_finetune_accepts_a_suite(command):
    overrides = ["data=vtab", *[SCRATCH] * (command in ("fewshot", "eval")), *["against=digits"] * (command == "dedup")]
    with pytest.raises(
        UserError, match="data=vtab: is a suite of 19 tasks, for vitrun finetune only: .* data=vtab/"
    ) as error:
        resolve.resolve_recipe(command, overrides)
    assert error.value.status == ExitCode.COMMAND


# overrides, the option at fault, the message
WRONG = [
    ("data=vtab", "data", "needs the folder of the originals: add data.root=FOLDER"),
    ("data=vtab data.root=/ data.tasks=pest", None, "Unknown data 'vtab/pest'. Did you mean vtab/pets"),
    ("data=vtab data.root=/ data.tasks=pets,pets", "data.tasks", "must name at least one task"),
    ("data=vtab data.root=/ data.tasks=[]", "data.tasks", "must name at least one task"),
    ("data=vtab data.root=/ data.protocol=vpt data.flip=true", "data.protocol", "squares the whole image"),
    ("data=vtab data.root=/ grid=0.1,0.2 epochs=1 batch=100 warmup=9", "warmup", "leaves no step of the 8 steps"),
    ("data=vtab data.root=/ dev=0.1", "dev", "each task of VTAB has 200 held-out images"),
]


@pytest.mark.parametrize("overrides, option, message", WRONG, ids=[overrides for overrides, *_ in WRONG])
def test_an_impossible_suite_is_refused_before_its_first_task(overrides, option, message):
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("finetune", [SCRATCH, *overrides.split()])
    assert (error.value.option, error.value.status) == (option, ExitCode.COMMAND)
    assert message in str(error.value)


def test_a_task_of_a_suite_has_the_run_name_of_a_single_task(root, tmp_path):
    task = expand.expand_suite(load(root, tmp_path))["dtd"]
    assert (
        run.run_name("finetune", task)
        == run.run_name("finetune", replace(task))
        != run.run_name("finetune", load(root, tmp_path))
    )
