"""Runs by name."""

import pytest

from helpers.runs import finished
from vitrun.config import resolve
from vitrun.errors import UserError


def test_a_run_in_another_folder_is_refused_with_the_overrides_that_name_it(run_command, tmp_path):
    folder = finished(run_command)
    with pytest.raises(UserError) as error:
        resolve.resolve_recipe("finetune", [f"init={folder}", f"runs={tmp_path / 'elsewhere'}"])
    assert f"runs={folder.parent} init={folder.name}" in str(error.value)
