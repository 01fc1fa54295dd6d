"""Python calls every command; the code of docs/python.md runs as it stands there."""

import inspect
import logging
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

import vitrun
from helpers.paths import ROOT
from vitrun.api.calls import LOGGER
from vitrun.api.options import flatten_options
from vitrun.cli.app import COMMAND_HELP
from vitrun.errors import ExitCode, UserError
from vitrun.runs.run_files import load_result

PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
CODE = "".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
SMALL = {"model": "vit_nano8", "data.train_images": 96, "data.test_images": 50, "batch": 32, "steps": 2, "warmup": 0}
NAMES = {
    "models": "list_models",
    "data": "list_data",
    "runs": "list_runs",
}  # of functions: packages have the names of these commands


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Work in a folder of its own, in which runs are written."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def test_the_code_of_the_page_runs_and_prints_only_what_it_asks_for(runs, capsys, monkeypatch):
    monkeypatch.setattr(logging, "basicConfig", lambda level: LOGGER.setLevel(level))
    page = {"__name__": "page"}
    exec(compile(CODE, "docs/python.md", "exec"), page)
    monkeypatch.setattr(LOGGER, "level", logging.NOTSET)
    printed = capsys.readouterr()
    repeated = 1 + 5  # of the lines that are printed in loops, of two learning rates and of six runs
    assert len(printed.out.splitlines()) == CODE.count("print(") + repeated and not printed.err
    assert load_result(page["finetuned"].folder)["top1"] == page["finetuned"]["top1"] == page["accuracy"]
    assert len(page["classes"]) == 4 == len(page["features"]) and page["logits"].shape == (2, 10)
    assert page["path"].is_file() and page["sizes"]["vit_ti16"] > 5e6


def test_there_is_a_function_for_each_command_and_the_page_names_it():
    for command in COMMAND_HELP:
        name = NAMES.get(command, command)
        assert inspect.getdoc(getattr(vitrun, name)) and f"`{name}`" in PAGE
    assert all(hasattr(vitrun, name) for name in [*vitrun.__all__, *dir(vitrun)])


def test_importing_vitrun_loads_neither_torch_nor_hydra_and_leaves_eval_as_it_is():
    code = "import sys; from vitrun import *; print(eval('1'), UserError.__name__, pretrain.__name__, *sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded[:3] == ["1", "UserError", "pretrain"] and not {"torch", "hydra", "timm", "datasets"} & {*loaded}


@pytest.mark.parametrize(
    "options, option, message",
    [
        ({"optim_lr": 0.1}, "optim_lr", "optim.lr"),
        ({"optim__lr": -1.0}, "optim.lr", "optim.lr=-1.0"),
        ({"seed": [0, 1]}, "seed", "once for each"),
        ({"model": object()}, "model", "not a object"),
        ({"overrides": ["steps=3"], "steps": 4}, None, "given twice"),
        ({"overrides": {"model": "vit_nano8"}}, None, "**options"),
        ({"quiet": 5}, "quiet", "True or False"),
        ({"learning_rate": 0.1}, "learning_rate", "Did you mean optim.lr?"),
    ],
)
def test_a_wrong_option_raises_an_error_that_names_it(runs, options, option, message):
    with pytest.raises(vitrun.UserError, match=re.escape(message)) as error:
        vitrun.pretrain(**options)
    assert (error.value.status, error.value.option) == (ExitCode.COMMAND, option) and not runs.exists()


@pytest.mark.parametrize("option", ["classes", "res"])
def test_a_network_of_no_size_is_refused(option):
    with pytest.raises(UserError, match=f"{option}=-1"):
        vitrun.build("vit_nano8", **{option: -1})


def test_values_of_python_become_those_of_the_command_line():
    options = {"a": {"b": {"c": 1e-5}, "d": None}, "e__f": np.float32(0.5), "g": range(2), "h": (True, "x,y"), "i": "z"}
    options |= {"j": np.arange(2), "k": ROOT}
    assert [f"{key}={value}" for key, value in flatten_options(options)] == [
        "a.b.c=1e-05", "a.d=null", "e.f=0.5", "g=[0,1]", "h=[true,'x,y']", "i=z", "j=[0,1]", f"k={ROOT}"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["it's, here", "a (1) [b]", "back\\slash, {c}", "plain"])
def test_a_folder_may_have_any_name(runs, photographs, name):
    photographs.rename(photographs.with_name(name))
    rows = vitrun.list_data("folder", data__path=photographs.with_name(name))
    assert [(row["split"], row["images"], row["classes"]) for row in rows] == [("train", 12, 2), ("test", 8, 2)]


def test_a_call_in_one_of_several_processes_is_refused(runs, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="-m vitrun pretrain"):
        vitrun.pretrain(**SMALL)


def test_a_dry_run_returns_the_cost_and_writes_nothing(runs, capsys):
    cost = vitrun.pretrain(**SMALL, dry_run=True)
    assert cost["steps"] == 2 and cost["hours"] > 0 and not runs.exists()
    assert capsys.readouterr() == ("", "")


def test_a_run_can_be_told_to_print_and_runs_in_a_thread(runs, capsys):
    results = []
    thread = threading.Thread(target=lambda: results.append(vitrun.pretrain(**SMALL, quiet=False)))
    thread.start()
    thread.join()
    (result,) = results
    assert f"starting {result.run}" in capsys.readouterr().out and result.folder.is_dir()
    assert {**result} == {name: result[name] for name in result} and "metrics" not in {**result}


def test_a_stopped_run_raises_what_its_signal_means(runs, monkeypatch):
    def stop_at(status):
        def execute(recipe, run):
            run.request_exit(status)
            run.raise_if_interrupted()

        return lambda command: type("module", (), {"execute": staticmethod(execute)})

    monkeypatch.setattr("vitrun.commands.import_command", stop_at(ExitCode.INTERRUPTED))
    with pytest.raises(KeyboardInterrupt, match="the same call continues"):
        vitrun.pretrain(**SMALL)
    monkeypatch.setattr("vitrun.commands.import_command", stop_at(ExitCode.TERMINATED))
    with pytest.raises(SystemExit, match="143"):
        vitrun.pretrain(**SMALL)


def test_build_takes_names_rows_and_options_and_refuses_a_resolution_that_does_not_fit():
    network = vitrun.build("vit_nano8", classes=3, res=32, dropout=0.25)
    assert network.head.out_features == 3 and network.row.dropout == 0.25
    assert vitrun.build(network.row, classes=3, res=32).row == network.row
    for options in ({"res": 33}, {"res": 32, "width": "wide"}):
        with pytest.raises(UserError):
            vitrun.build("vit_nano8", **options)
