"""The options of each command, with their types."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from vitrun.recipes import RECIPES
from vitrun.recipes.trees import show_value


@cache
def options(verb: str) -> dict[str, Any]:
    """Every dotted option that some choice of groups gives a verb, with its type."""
    return dict(typed(RECIPES[verb]))


def typed(cls: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, kind in get_type_hints(cls).items():
        for part in (parts := alternatives(kind)):
            if is_dataclass(part):
                yield from typed(part, f"{prefix}{name}.")
        if not all(is_dataclass(part) for part in parts):
            yield f"{prefix}{name}", kind


def alternatives(kind: Any) -> list[Any]:
    """The members of a union of types, looking through annotations; none of them None."""
    if get_origin(kind) is Annotated:
        return alternatives(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [part for member in get_args(kind) for part in alternatives(member)]
    return [] if kind is type(None) else [kind]


def is_list(verb: str, key: str) -> bool:
    """Whether commas make a list of this option (and not a sweep)."""
    return any(get_origin(part) is tuple for part in alternatives(options(verb).get(key)))


def allowed(verb: str, key: str) -> list[str]:
    """The words that this option takes, where it takes no others but true, false, numbers and null."""
    found = [get_args(part) for part in alternatives(options(verb).get(key)) if get_origin(part) is Literal]
    return [show_value(word) for words in found for word in words]


def is_text(verb: str, key: str) -> bool:
    """Whether this option takes free text."""
    kinds = alternatives(options(verb).get(key))
    return bool(kinds) and all(part in (str, Path) for part in kinds)
