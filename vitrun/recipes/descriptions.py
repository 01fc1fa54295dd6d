"""Descriptions of options: the comments beside the fields of the recipes, at the end of a line or in the lines above.

So a comment there is what ``--help`` prints: what the option means, with its unit and the meaning of null.
"""

import ast
import linecache
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from vitrun.recipes import RECIPES, options

DISCRIMINATORS = ("kind", "source")  # options that a file of a group sets, by which the class of its options is known


class Option(NamedTuple):
    """Option of a command, as one class of options has it: files and shards both have ``data.path``."""

    key: str
    description: str  # "" if there is none, or the source of the class is not installed
    discriminator: str  # the option whose value chooses this class, "" if it is not one of several
    kinds: tuple[str, ...]  # the values of it
    choice: tuple[str, tuple[str, ...]]  # both; for a class within one of several classes, those of that one


def list_described(command: str) -> list[Option]:
    """Return the options of a command, and the choices of its groups, in the order of the recipes."""
    recipe: Any = RECIPES[command]
    groups = [field.name for field in fields(recipe) if field.name not in options.list_options(command)]
    pairs = [(key, recipe) for key in groups] + [(key, cls) for key, _, cls in options.walk_options(recipe)]
    outer = find_outer_classes(pairs)
    described = []
    for key, cls in pairs:
        group, _, name = key.rpartition(".")
        name_of_kind, kinds = find_kinds(cls)
        discriminator = f"{group}.{name_of_kind}" if kinds else ""
        description = describe_fields(cls).get(name, "")
        described.append(Option(key, description, discriminator, kinds, outer.get(group, (discriminator, kinds))))
    return described


def find_outer_classes(pairs: list[tuple[str, Any]]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the discriminator, and its values, of the class that has each group of options within one of several.

    As ``model.image``, which a CLIP alone has: ``("model.kind", ("clip",))``.
    """
    outer: dict[str, tuple[str, tuple[str, ...]]] = {}
    for key, cls in pairs:
        group = key.rpartition(".")[0]
        discriminator, kinds = find_kinds(cls)
        if group and kinds:
            outer |= {f"{group}.{field.name}": (f"{group}.{discriminator}", kinds) for field in fields(cls)}
    return outer


@cache
def find_kinds(cls: type) -> tuple[str, tuple[str, ...]]:
    """Return the discriminator of a class of options, and its values; "" and () if it has none."""
    types = get_type_hints(cls)
    for name in DISCRIMINATORS:
        if get_origin(types.get(name)) is Literal:
            return name, get_args(types[name])
    return "", ()


@cache
def describe_fields(cls: type) -> dict[str, str]:
    """Return the comment of each field of a dataclass, those of its bases among them."""
    described: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if is_dataclass(base):
            described |= read_comments(base.__module__).get(base.__qualname__, {})
    return described


@cache
def read_comments(module: str) -> dict[str, dict[str, str]]:
    """Return the comments of the annotated fields of each class in the source of a module."""
    loaded = sys.modules[module]
    lines = linecache.getlines(loaded.__file__ or "", vars(loaded))
    classes = (node for node in ast.parse("".join(lines)).body if isinstance(node, ast.ClassDef))
    return {node.name: dict(read_class_comments(node, lines)) for node in classes}


def read_class_comments(node: ast.ClassDef, lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the fields of a class that have a comment, with it: the lines above, then that at the end of the line."""
    for field in node.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            first = field.lineno - 1
            while lines[first - 1].lstrip().startswith("#"):
                first -= 1
            end = lines[(field.end_lineno or field.lineno) - 1].encode()[field.end_col_offset :].decode()
            parts = [line.strip().removeprefix("#").strip() for line in [*lines[first : field.lineno - 1], end]]
            if comment := " ".join(filter(None, parts)).replace("``", ""):
                yield field.target.id, comment
