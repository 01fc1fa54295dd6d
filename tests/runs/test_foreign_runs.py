"""Runs of others, as of a shared folder: whatever their files contain, one sentence, and the other runs are shown."""

import datetime
import json
import os
from pathlib import Path

import pytest
import yaml

from helpers.runs import pretrain_tiny
from vitrun.cli import dispatch
from vitrun.config import resolve
from vitrun.errors import ExitCode, UserError
from vitrun.runs import results, run_files, status
from vitrun.runs.history import read_history

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12))
LOOP = "command: pretrain\ndata: {name: x}\nmodel: &a {name: x, self: *a}\n"


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> tuple[dict, dict]:
    """Return recipe and result of a run."""
    from vitrun import commands
    from vitrun.runs import execution
    from vitrun.runtime.console import Screen

    runs = tmp_path_factory.mktemp("good")

    def run_command(command, *overrides):
        recipe = resolve.resolve_recipe(command, [*overrides, f"runs={runs}"])
        return recipe, execution.execute_run(
            command, recipe, Screen(quiet=True), commands.import_command(command).execute
        )

    folder = pretrain_tiny(run_command)
    return yaml.safe_load((folder / "recipe.yaml").read_text()), json.loads((folder / "result.json").read_text())


def write_run(folder: Path, recipe: dict | str, result: dict | str) -> None:
    """Write the files of a finished run."""
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe if isinstance(recipe, str) else yaml.safe_dump(recipe))
    (folder / "result.json").write_text(result if isinstance(result, str) else json.dumps(result))


def load_all(runs: Path, warnings: list[str]) -> list[str]:
    """Return the names of the runs that ``compare`` can use."""
    finished, left_out = results.load_finished_runs(runs, ("pretrain", "finetune"))
    warnings += [f"{run.name}: {run.detail}" for run in left_out if run.reason is results.Reason.DAMAGED]
    return [run.name for run in finished]


RECIPES = {
    "itself": {"command": "finetune", "init": "bad"},
    "bomb": BOMB,
    "merges": MERGES,
    "loop": LOOP,
    "nested": "[" * 5000,
    "nested mappings": "".join(" " * i + "a:\n" for i in range(900)),
    "digits": "command: " + "9" * 5000,
    "month": "command: 2001-99-99",
    "numbers": {"command": 3},
    "init": {"command": "finetune", "init": ["x"]},
    "no init": {"command": "finetune"},
    "long init": {"command": "finetune", "init": "x" * 5000},
    "zero in init": {"command": "finetune", "init": "a\0b"},
    "model": {"model": [1]},
    "null as a key": {"x": {None: 1, "a": 2}},
    "a date": {"seed": datetime.date(2001, 1, 1)},
}
METRICS = {
    "infinity": '"top1": Infinity',
    "minus": '"loss": -Infinity',
    "nan": '"top1": NaN',
    "400 digits": '"top1": ' + "9" * 400,
    "5000 digits": '"top1": ' + "9" * 5000,
    "exponent": '"top1": 1e999',
    "text": '"top1": 0.5, "metrics": {"top1": {"mean": "high"}}',
    "null": '"top1": 0.5, "metrics": {"top1": {"mean": null}}',
    "list": '"metrics": []',
    "std": '"top1": 0.5, "metrics": {"top1": {"mean": 0.5, "std": NaN}}',
    "nested": '"top1": ' + "[" * 100_000,
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_vitrun_did_not_write_is_left_out_with_one_sentence(tmp_path, good, name):
    recipe, result = good
    bad = RECIPES[name]
    write_run(tmp_path / "bad", bad if isinstance(bad, str) else recipe | bad, result)
    write_run(tmp_path / "good", recipe, result)
    warnings = []
    names = load_all(tmp_path, warnings)
    assert "good" in names and len(warnings) <= 1 and all(len(line) < 400 for line in warnings)
    assert ("bad" not in names) == bool(warnings)
    try:
        resolve.resolve_recipe("finetune", ["data=digits", "init=bad", f"runs={tmp_path}"])
    except UserError as error:
        assert len(str(error)) < 500 and error.status in (ExitCode.CHECKPOINT, ExitCode.COMMAND)


@pytest.mark.parametrize("name", METRICS)
def test_a_result_with_what_is_no_number_is_left_out_with_one_sentence(tmp_path, good, name):
    recipe, result = good
    write_run(tmp_path / "bad", recipe, f'{{"finished": 1.0, "result": {{{METRICS[name]}}}}}')
    write_run(tmp_path / "good", recipe, result)
    warnings = []
    assert load_all(tmp_path, warnings) == ["good"]
    assert len(warnings) == 1 and warnings[0].startswith("bad: ") and len(warnings[0]) < 400


def test_runs_that_start_from_each_other_are_named(tmp_path, good):
    recipe, result = good
    for name, init in (("a", "b"), ("b", "./a"), ("c", "a")):
        write_run(tmp_path / name, recipe | {"command": "finetune", "init": init}, result)
    for command in ("finetune", "eval", "fewshot", "export"):
        with pytest.raises(UserError, match="the run .* starts from itself") as error:
            resolve.resolve_recipe(command, ["init=c", f"runs={tmp_path}"])
        assert error.value.status == ExitCode.CHECKPOINT


def test_a_time_that_is_no_number_is_no_result(tmp_path, good):
    for name, values in {"a": '"finished": NaN', "b": '"finished": 1.0, "order": 1e3', "c": '"finished": true'}.items():
        write_run(tmp_path / name, good[0], f'{{{values}, "result": {{}}}}')
        with pytest.raises(UserError, match="is not a result of vitrun"):
            run_files.finish_order(tmp_path / name)
    assert run_files.next_order(tmp_path) == 1


def test_a_recipe_file_that_stands_for_billions_of_values_is_refused(tmp_path):
    for text in (BOMB, MERGES, LOOP, "[" * 5000, "batch: " + "9" * 5000):
        (tmp_path / "mine.yaml").write_text(text)
        with pytest.raises(UserError) as error:
            resolve.resolve_recipe("pretrain", [f"recipe={tmp_path / 'mine.yaml'}"])
        assert error.value.status == ExitCode.COMMAND and len(str(error.value)) < 400


def test_a_row_of_ones_own_that_stands_for_billions_of_values_is_refused(tmp_path, monkeypatch):
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "mine.yaml").write_text(BOMB)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="mine.yaml line .*: these are more than 20,000 values"):
        resolve.resolve_recipe("pretrain", ["model=mine"])


def test_escape_sequences_of_a_run_do_not_reach_the_terminal(tmp_path, good, capfd):
    recipe, result = good
    name = "\x1b]0;title\x07\x1b[31m\u202e\u2028"
    data = recipe["data"] | {"name": name}
    write_run(tmp_path / "a", recipe | {"command": "finetune", "init": "random:vit_nano8", "data": data}, result)
    write_run(tmp_path / "b", recipe | {"command": "finetune", "init": name, "res": None}, '{"finished": 1.0}')
    dispatch.execute_command("compare", ["paper=none", f"runs={tmp_path}"], dispatch.Flags())
    printed = "".join(capfd.readouterr())
    assert "title" in printed and not {"\x1b", "\x07", "\u202e", "\u2028"} & set(printed)


@pytest.mark.parametrize("name", ["metrics.jsonl", "lock", "recipe.yaml", "about.json", "result.json"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_an_endless_device_in_place_of_a_file_of_a_run_is_not_read(tmp_path, name, kind):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text("command: pretrain\nmodel: {name: a}\ndata: {name: b}\n")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name) if kind == "pipe" else (folder / name).symlink_to("/dev/zero")
    assert status.read_status(folder).state in ("stopped", "damaged")
    assert not run_files.find_failure(folder) and not read_history(folder).steps
