"""Runs by name."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from helpers.overrides import TINY
from helpers.runs import pretrain_tiny
from vitrun.config import resolve
from vitrun.errors import UserError
from vitrun.runs import init_resolution, lookup, run, run_files
from vitrun.runtime.console import Screen


def test_a_run_that_was_moved_elsewhere_is_named_by_its_path(run_command, tmp_path):
    folder = pretrain_tiny(run_command)
    _, before = run_command("eval", f"init={folder.name}")
    recipe, _ = run_command(
        "finetune", f"init={folder.name}", "data=shapes", "data.train_images=64", "steps=2", "warmup=1"
    )
    finetuned = recipe.runs / run.run_name("finetune", recipe)
    moved = (tmp_path / "runs").rename(tmp_path / "moved")
    by_path, result = run_command("eval", f"init={moved / folder.name}")
    assert by_path.init.startswith(f"{moved / folder.name}#") and result["top1"] == before["top1"]
    assert by_path.data == resolve.resolve_recipe("eval", [f"init={folder.name}", f"runs={moved}"]).data
    assert lookup.model_name_of(by_path.init, by_path.runs) == "vit_nano8"
    chain = [name for name, _ in lookup.trace_init(f"{moved / finetuned.name}#{'0' * 12}", tmp_path / "runs")]
    assert len(chain) == 2 and chain[1] == folder.name
    name = run.run_name("eval", by_path)
    again = moved.rename(tmp_path / "again")
    recipe, _ = run_command("eval", f"init={again / folder.name}")
    assert run.run_name("eval", recipe) == name, "the place of the weights is not part of the name"
    assert resolve.resolve_recipe("eval", [f"init={recipe.init}", f"runs={tmp_path / 'runs'}"]).init == recipe.init
    with pytest.raises(UserError, match="have changed"):
        init_resolution.resolve_init(f"{again / folder.name}#{'0' * 12}", tmp_path / "runs", "eval")
    (again / folder.name / "result.json").unlink()
    with pytest.raises(UserError, match="not finished"):
        init_resolution.resolve_init(str(again / folder.name), tmp_path / "runs", "eval")


def test_a_run_of_a_command_without_weights_is_refused_with_the_weights_that_it_read(run_command):
    folder = pretrain_tiny(run_command)
    for command, overrides in {"eval": [f"init={folder.name}"], "dedup": ["data=digits"]}.items():
        recipe, _ = run_command(command, *overrides)
        with pytest.raises(UserError, match=f"{command} has no weights") as caught:
            run_command("finetune", f"init={run.run_name(command, recipe)}", "data=digits", "steps=1")
        assert caught.value.option == "init" and (folder.name in str(caught.value)) == (command == "eval")


def test_a_renamed_run_is_described_by_its_recipe(run_command):
    folder = pretrain_tiny(run_command)
    folder = folder.rename(folder.with_name("mine"))
    assert init_resolution.resolve_init("latest", folder.parent, "finetune") == "mine"
    recipe, _ = run_command("finetune", "init=mine", "steps=1")
    assert run.run_name("finetune", recipe).startswith("finetune-vit_nano8-digits-")
    saved = run_files.load_recipe(recipe.runs / run.run_name("finetune", recipe))
    assert (saved["command"], saved["model"]["name"], saved["init"]) == ("finetune", "vit_nano8", "mine")


def test_the_latest_run_is_the_one_that_finished_last_whatever_the_clock_said(tmp_path, monkeypatch):
    recipe = resolve.resolve_recipe("pretrain", [*TINY, f"runs={tmp_path}"])
    runs = [run.Run("pretrain", replace(recipe, seed=seed), Screen(quiet=True)) for seed in range(3)]

    def finish(one: run.Run, clock: float) -> None:
        monkeypatch.setattr(run.time, "time", lambda: clock)
        (one.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        one.write_recipe()
        one.finish({})
        assert init_resolution.resolve_init("latest", tmp_path, "finetune") == one.name

    finish(runs[0], 4e9)  # in 2096
    finish(runs[1], 0.0)
    shutil.copytree(runs[0].folder, tmp_path / "copied", copy_function=shutil.copy)
    assert init_resolution.resolve_init("latest", tmp_path, "finetune") == runs[1].name
    (tmp_path / "foreign").mkdir()
    for name in ("recipe.yaml", "checkpoints"):
        (tmp_path / "foreign" / name).symlink_to(runs[0].folder / name)
    (tmp_path / "foreign" / "result.json").write_text('{"result": {}, "finished": 1.0, "order": 500}')
    finish(runs[2], 9.0)


def test_runs_that_finish_at_once_have_different_numbers(tmp_path):
    recipe = resolve.resolve_recipe("pretrain", [*TINY, f"runs={tmp_path}"])
    runs = [run.Run("pretrain", replace(recipe, seed=seed), Screen(quiet=True)) for seed in range(8)]
    for one in runs:
        one.folder.mkdir()
        one.write_recipe()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: one.finish({}), runs))
    assert sorted(run_files.finish_order(one.folder)[0] for one in runs) == [*range(1, 9)]


def test_a_file_is_named_by_its_path_and_hash_whatever_signs_the_path_has(tmp_path):
    path = tmp_path / "a#b" / "w#0123456789ab.pth.tar"
    path.parent.mkdir()
    path.write_bytes(b"1")
    init = init_resolution.resolve_init(str(path), tmp_path, "eval")
    assert init.startswith(f"{path}#") and init_resolution.resolve_init(init, tmp_path, "eval") == init
    assert lookup.find_weights_file(init, tmp_path) == path and lookup.model_name_of(init, tmp_path).startswith("w#")
    path.write_bytes(b"2")
    with pytest.raises(UserError, match="changed"):
        init_resolution.resolve_init(init, tmp_path, "eval")


def test_a_folder_of_weights_is_every_file_that_is_read_of_it(tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text(name)
    init = init_resolution.resolve_init(str(tmp_path), tmp_path / "runs", "eval")
    (tmp_path / "config.json").write_text('{"id2label": {}}')
    assert init_resolution.resolve_init(str(tmp_path), tmp_path / "runs", "eval") != init
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}'
    )
    codes = set()
    for changed in ("1.safetensors", "2.safetensors", "preprocessor_config.json", "model.safetensors.index.json"):
        file = tmp_path / changed
        content = file.read_bytes() if file.exists() else b""
        for part in ("1.safetensors", "2.safetensors"):
            (tmp_path / part).touch()
        codes.add(init_resolution.resolve_init(str(tmp_path), tmp_path / "runs", "eval"))
        file.write_bytes(content + b" ")
        codes.add(init_resolution.resolve_init(str(tmp_path), tmp_path / "runs", "eval"))
    assert len(codes) == 5
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "w.pth").touch()
    with pytest.raises(UserError, match=r"config\.json.*w\.pth"):
        init_resolution.resolve_init(str(tmp_path / "other"), tmp_path / "runs", "eval")
