"""The tables of objectives and of their options have the same rows."""

import pytest

from vitrun.objectives import OBJECTIVES
from vitrun.recipes import tables
from vitrun.recipes.objective import OPTIONS


def test_every_objective_has_options_and_a_file_in_conf():
    assert OBJECTIVES.keys() == OPTIONS.keys() == tables.list_group_files("objective").keys()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_has_all_attributes_that_the_trainer_uses(name):
    methods = ("from_recipe", "check_data", "build_model", "prepare", "loss", "evaluate")
    assert all(callable(getattr(OBJECTIVES[name], method, None)) for method in methods)
