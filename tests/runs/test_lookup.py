"""Runs by name."""

import pytest

from helpers.runs import pretrain_tiny
from vitrun.config import resolve
from vitrun.errors import UserError
from vitrun.runs import lookup, run, run_files


def test_a_run_in_another_folder_is_refused_with_the_overrides_that_name_it(run_command, tmp_path):
    folder = pretrain_tiny(run_command)
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("finetune", [f"init={folder}", f"runs={tmp_path / 'elsewhere'}"])
    assert f"runs={folder.parent} init={folder.name}" in str(error.value)


def test_a_renamed_run_is_described_by_its_recipe(run_command):
    folder = pretrain_tiny(run_command)
    folder = folder.rename(folder.with_name("mine"))
    assert lookup.resolve_init("latest", folder.parent, "finetune") == "mine"
    recipe, _ = run_command("finetune", "init=mine", "steps=1")
    assert run.run_name("finetune", recipe).startswith("finetune-vit_nano8-digits-")
    saved = run_files.load_recipe(recipe.runs / run.run_name("finetune", recipe))
    assert (saved["command"], saved["model"]["name"], saved["init"]) == ("finetune", "vit_nano8", "mine")
