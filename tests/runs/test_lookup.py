"""Runs by name."""

import pytest

from helpers.runs import pretrain_tiny
from vitrun.config import resolve
from vitrun.errors import UserError
from vitrun.runs import init_resolution, lookup, run, run_files


def test_a_run_in_another_folder_is_refused_with_the_overrides_that_name_it(run_command, tmp_path):
    folder = pretrain_tiny(run_command)
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("finetune", [f"init={folder}", f"runs={tmp_path / 'elsewhere'}"])
    assert f"runs={folder.parent} init={folder.name}" in str(error.value)


def test_a_renamed_run_is_described_by_its_recipe(run_command):
    folder = pretrain_tiny(run_command)
    folder = folder.rename(folder.with_name("mine"))
    assert init_resolution.resolve_init("latest", folder.parent, "finetune") == "mine"
    recipe, _ = run_command("finetune", "init=mine", "steps=1")
    assert run.run_name("finetune", recipe).startswith("finetune-vit_nano8-digits-")
    saved = run_files.load_recipe(recipe.runs / run.run_name("finetune", recipe))
    assert (saved["command"], saved["model"]["name"], saved["init"]) == ("finetune", "vit_nano8", "mine")


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
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "w.pth").touch()
    with pytest.raises(UserError, match=r"config\.json.*w\.pth"):
        init_resolution.resolve_init(str(tmp_path / "other"), tmp_path / "runs", "eval")
