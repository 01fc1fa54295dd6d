"""Freeze a plain tree of options into a recipe, or explain the first option that is wrong."""

from collections.abc import Sequence
from typing import Any

from vitrun.errors import UserError, suggest
from vitrun.recipes import RECIPES, options, trees
from vitrun.recipes.base import OptionError, describe_value_error, discriminator_of

MAX_VALUES = 1_000  # of a list
MAX_INTEGER = 2**63 - 1
MAX_FOLDERS = 200  # of a path; Python creates nested folders by recursion
DISCRIMINATORS = ("kind", "source")  # options that choose a member of a union


def freeze_recipe(command: str, tree: dict[str, Any]) -> Any:
    """Return the recipe of a command from a plain tree of options; raise a UserError about the first wrong option."""
    from pydantic import TypeAdapter, ValidationError

    for key in trees.iterate_keys(tree):  # pydantic would read true as 1
        value = trees.get_value(tree, key)
        check_extent(key, value)
        has_bool = any(isinstance(part, bool) for part in (value if isinstance(value, list) else [value]))
        if has_bool and bool not in options.flatten_union(options.list_options(command).get(key)):
            raise UserError("must not be true or false.", option=key, value=trees.format_value(value))
    try:
        return TypeAdapter(RECIPES[command]).validate_python(tree)
    except ValidationError as error:
        raise explain_error(command, dict(error.errors()[0]), tree) from None
    except UnicodeEncodeError as error:  # of pydantic, about an error whose message has such text
        text = error.object[error.start : error.end]
        wrong = next(key for key in trees.iterate_keys(tree) if text in trees.format_value(trees.get_value(tree, key)))
        raise UserError(f"{wrong} is not text in UTF-8: type it again.", option=wrong) from None


def check_extent(key: str, value: Any) -> None:
    """Raise a UserError about a list or a number that no option takes."""
    parts = value if isinstance(value, list) else [value]
    if len(parts) > MAX_VALUES:
        raise UserError(f"{key} has {len(parts):,} values: at most {MAX_VALUES:,}.", option=key)
    if any(isinstance(part, int) and abs(part) > MAX_INTEGER for part in parts):
        raise UserError(f"{key} is out of range: a whole number has at most 19 digits.", option=key)
    if (deepest := max((part.count("/") for part in parts if isinstance(part, str)), default=0)) > MAX_FOLDERS:
        raise UserError(f"{key} has a path of {deepest:,} folders: at most {MAX_FOLDERS}.", option=key)


def explain_error(command: str, error: dict[str, Any], tree: dict[str, Any]) -> UserError:
    """Return the UserError for an error of pydantic about a tree of options."""
    kind, cause = error["type"], error.get("ctx", {}).get("error")
    option, value = find_option(command, error["loc"], tree), trees.format_value(error["input"])
    if isinstance(cause, OptionError):
        return UserError(cause.message, option=f"{option}.{cause.option}".lstrip("."), value=cause.value)
    if kind == "value_error":
        return UserError(str(cause), option=option, value=value) if option else UserError(str(cause))
    if kind == "union_tag_invalid":
        option, value = f"{option}.{discriminator_of(error)}", error["ctx"]["tag"]
    if kind == "unexpected_keyword_argument" and option.split(".")[-1] != error["loc"][-1]:
        key = f"{option}.{error['loc'][-1]}".lstrip(".")
        return UserError(f"Unknown option {key!r}. {suggest(key, options.list_options(command))}", option=key)
    if kind == "unexpected_keyword_argument":  # an override is known to the choice of its group: a file set this one
        group = error["loc"][0]
        why = f"is set by the protocol, but the chosen {group} has no such option: choose another {group} or protocol."
        return UserError(why, option=option, value=value)
    if kind == "missing" and not isinstance(error["loc"][-1], int):
        return UserError(f"{option} is required: add {option}=VALUE.", option=option)
    return UserError(describe_value_error(error), option=option, value=value)


def find_option(command: str, location: Sequence[Any], tree: dict[str, Any]) -> str:
    """Return the option at a location of pydantic's, which also names members of unions and indices of lists.

    A member of a union may have the name of an option within another one: ``model.kind=resnet``, and ``model.resnet``.
    """
    names: list[str] = []
    inside, member = tree, None  # options of the last name, and which member of a union it is
    for part in map(str, location):
        if part == member:
            member = None
            continue
        dotted = ".".join([*names, part])
        if any(key == dotted or key.startswith(f"{dotted}.") for key in options.list_options(command)):
            names.append(part)
            inside = value if isinstance(value := inside.get(part), dict) else {}
            member = next((inside[name] for name in DISCRIMINATORS if name in inside), None)
    return ".".join(names)
