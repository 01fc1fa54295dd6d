"""``recipe=FILE``: values in a YAML file of the user's, over those of ``conf/`` and under the other overrides."""

from collections.abc import Sequence
from pathlib import Path

from vitrun.errors import UserError
from vitrun.recipes import trees, yaml_file

KEY = "recipe"


def find_recipe_file(overrides: Sequence[str]) -> str | None:
    """Return the file that ``recipe=FILE`` names; None if no override does."""
    return next((override.partition("=")[2] for override in overrides if override.startswith(f"{KEY}=")), None)


def read_recipe_file(name: str) -> dict[str, str]:
    """Return the values of a file as ``{key: value}``, as overrides have them: ``model: vit_b16`` chooses a row."""
    path = Path(name).expanduser()
    if not path.exists():
        way = "It takes the path of a YAML file; protocol=NAME chooses a published recipe."
        raise UserError(f"there is no file {path.absolute()}. {way}", option=KEY, value=name)
    if not path.is_file():
        raise UserError("is not a file: give the path of a YAML file.", option=KEY, value=name)
    try:
        tree = yaml_file.read_options(path)
    except yaml_file.UnreadableError as error:
        raise UserError(f"{error}.", option=KEY, value=name) from None
    if "defaults" in tree:
        why = (
            "has a defaults list, which only files of conf/ have: choose by the name of the group, as in model: vit_b16"
        )
        raise UserError(why, option=KEY, value=name)
    return {key: trees.format_value(trees.get_value(tree, key)) for key in trees.iterate_keys(tree)}
