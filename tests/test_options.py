"""Every option of every command is described, by the comment beside its field."""

import pytest

from vitrun.recipes import RECIPES, descriptions


@pytest.mark.parametrize("command", RECIPES)
def test_every_option_has_a_description_beside_its_field(command):
    described = descriptions.list_described(command)
    bare = [option.key for option in described if not option.description]
    assert not bare, "write a comment beside the field in vitrun/recipes: meaning, unit, what null is"
    unclear = [option.key for option in described if "None" in option.description]
    assert not unclear, "write null for None: it is what people type"
