"""Options of each command, with their types."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from vitrun.recipes import RECIPES
from vitrun.recipes.trees import format_value


@cache
def list_options(command: str) -> dict[str, Any]:
    """Return every dotted option of a command, whatever the choices of its groups, with its type."""
    return {key: kind for key, kind, _ in walk_options(RECIPES[command])}


def walk_options(cls: Any, prefix: str = "") -> Iterator[tuple[str, Any, type]]:
    """Yield the options of a dataclass and of those in its fields, each with its type and the class that has it."""
    types = get_type_hints(cls)
    for name, kind in ((field.name, types[field.name]) for field in fields(cls)):
        for part in (parts := flatten_union(kind)):
            if is_dataclass(part):
                yield from walk_options(part, f"{prefix}{name}.")
        if not all(is_dataclass(part) for part in parts):
            yield f"{prefix}{name}", kind, cls


def flatten_union(kind: Any) -> list[Any]:
    """Return the members of a union of types without None, looking through annotations."""
    if get_origin(kind) is Annotated:
        return flatten_union(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [part for member in get_args(kind) for part in flatten_union(member)]
    return [] if kind is type(None) else [kind]


def is_list(command: str, key: str) -> bool:
    """Return whether an option is a list, so that its commas make no sweep."""
    return any(get_origin(part) is tuple for part in flatten_union(list_options(command).get(key)))


def is_text_list(command: str, key: str) -> bool:
    """Return whether an option is a list of text: of names, paths or choices."""
    kinds = flatten_union(list_options(command).get(key))
    values = [part for kind in kinds for part in get_args(kind) if part is not ...]
    return is_list(command, key) and all(is_text_type(part) for value in values for part in flatten_union(value))


def is_text_type(kind: Any) -> bool:
    """Return whether a type is that of text, of a path or of choices."""
    return kind in (str, Path) or get_origin(kind) is Literal


def is_scalar(command: str, key: str) -> bool:
    """Return whether an option, or the choice of a group, takes one value and no list."""
    return key in {field.name for field in fields(RECIPES[command])} | {*list_options(command)} and not is_list(
        command, key
    )


def list_allowed_values(command: str, key: str) -> list[str]:
    """Return the texts that an option allows beside true, false, numbers and null; none if it allows any text."""
    choices = [get_args(part) for part in flatten_union(list_options(command).get(key)) if get_origin(part) is Literal]
    return [format_value(value) for values in choices for value in values]


def is_text(command: str, key: str) -> bool:
    """Return whether an option takes free text."""
    kinds = flatten_union(list_options(command).get(key))
    return bool(kinds) and all(part in (str, Path) for part in kinds)
