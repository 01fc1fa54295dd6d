"""Freeze a plain tree of options into a recipe, with one sentence for the first that is unsound."""

from collections.abc import Sequence
from typing import Any

from vitrun.errors import UserError, rename_group
from vitrun.recipes import RECIPES, options, trees

ERROR_MESSAGES = {  # what pydantic says less well
    "path_type": "it should be a path",
    "tuple_type": "it should be a list",
    "bool_parsing": "it should be true or false",
    "too_short": "it needs a value at least",
}


def freeze_recipe(command: str, tree: dict) -> Any:
    """The recipe that a plain tree of options describes; a UserError for the first option that is unsound."""
    from pydantic import TypeAdapter, ValidationError

    for key in trees.iterate_keys(tree):  # pydantic would take true for 1
        value = trees.get_value(tree, key)
        on_or_off = any(isinstance(part, bool) for part in (value if isinstance(value, list) else [value]))
        if on_or_off and bool not in options.flatten_union(options.list_options(command).get(key)):
            raise UserError(f"{key}={trees.format_value(value)} cannot be: only options that are on or off take that")
    try:
        return TypeAdapter(RECIPES[command]).validate_python(tree)
    except ValidationError as error:
        raise UserError(explain_error(command, error.errors()[0])) from None


def explain_error(command: str, error: dict) -> str:
    """One sentence for what pydantic found."""
    if error["type"] == "value_error":
        return rename_group(error["loc"][0] if error["loc"] else "data", error["msg"].removeprefix("Value error, "))
    where = find_option(command, error["loc"])
    if error["type"] == "union_tag_invalid":
        tag = error["ctx"]["discriminator"].strip("'")
        return f"{where}.{tag}={error['ctx']['tag']} cannot be: it should be one of {error['ctx']['expected_tags']}"
    if (
        error["type"] == "unexpected_keyword_argument"
    ):  # overrides are known to the choice that they are for: a file set it
        wanted = f"the protocol sets it, and this {error['loc'][0]} has no {where}: choose another of the two"
        return f"{where}={trees.format_value(error['input'])} cannot be: {wanted}"
    if error["type"] == "missing" and isinstance(error["loc"][-1], int):
        number = len(error["input"])
        return (
            f"{where} needs more than {number} value{'s' * (number != 1)}: {where}={trees.format_value(error['input'])}"
        )
    if error["type"] == "missing":
        return f"{where} is required: add {where}=..."
    wanted = ERROR_MESSAGES.get(error["type"], error["msg"].replace("Input should", "it should"))
    return f"{where}={trees.format_value(error['input'])} cannot be: {wanted}"


def find_option(command: str, location: Sequence) -> str:
    """The option at pydantic's place, which names members of unions and numbers of list entries too."""
    names: list[str] = []
    for part in map(str, location):
        dotted = ".".join([*names, part])
        if any(key == dotted or key.startswith(f"{dotted}.") for key in options.list_options(command)):
            names.append(part)
    return ".".join(names)
