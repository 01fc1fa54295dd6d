"""Deviations of a saved recipe from its protocol's."""

import pytest

from helpers.overrides import SCRATCH
from vitrun.config import resolve
from vitrun.config.deviations import find_deviations
from vitrun.config.expand import expand_search
from vitrun.runs.naming import to_saved_tree

PRETRAIN = ("pretrain", "model=vit_b16", "data=imagenet", "protocol=paper_table3")
FINETUNE = ("finetune", SCRATCH, "data=digits", "protocol=quick")


def deviate(command: str, *overrides: str) -> list[str]:
    """Return the deviations of the saved recipe of overrides."""
    deviations = find_deviations(to_saved_tree(command, resolve.resolve_recipe(command, [*overrides])), "vit_nano8")
    assert deviations is not None and deviations.recipe.startswith("conf/recipe/")
    return [str(deviation) for deviation in deviations.options]


@pytest.mark.parametrize("overrides", [PRETRAIN, FINETUNE, (*FINETUNE, "seed=3", "device=cpu", "micro_batch=8")])
def test_a_recipe_as_its_protocol_has_it_deviates_in_nothing(overrides):
    assert deviate(*overrides) == []


def test_a_deviation_has_both_values_and_a_duration_is_one():
    assert sorted(deviate(*PRETRAIN, "optim.lr=0.01", "steps=50000", "model.depth=2")) == [
        "model.depth=2 (there 12)",
        "optim.lr=0.01 (there 0.003)",
        "steps=50000 (there epochs=300)",
    ]


def test_the_final_runs_of_a_search_do_not_deviate_from_its_recipe():
    search = resolve.resolve_recipe("finetune", [SCRATCH, "data=cifar10", "protocol=paper_table4"])
    final = to_saved_tree("finetune", expand_search(search)[-1])
    deviations = find_deviations(final, "vit_nano8")
    assert deviations is not None and not deviations.options


@pytest.mark.parametrize("changed", [{"protocol": "gone"}, {"data": {"name": "gone", "source": "digits"}}])
def test_a_recipe_of_a_protocol_or_data_set_that_is_no_more_has_nothing_to_deviate_from(changed):
    saved = to_saved_tree("finetune", resolve.resolve_recipe(FINETUNE[0], [*FINETUNE[1:]]))
    assert find_deviations(saved | changed, None) is None


def test_commands_without_protocols_have_nothing_to_deviate_from():
    saved = to_saved_tree("eval", resolve.resolve_recipe("eval", [SCRATCH, "data=digits"]))
    assert find_deviations(saved, None) is None
