"""Recipes as plain trees of options, and values as text."""

import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any


def iterate_keys(tree: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all values in a tree of options."""
    for key, value in tree.items():
        if hasattr(value, "items"):
            yield from iterate_keys(value, f"{prefix}{key}.")
        elif key != "defaults":
            yield f"{prefix}{key}"


def get_value(tree: dict[str, Any], key: str) -> Any:
    """Return the value at a dotted name."""
    for part in key.split("."):
        tree = tree[part]
    return tree


def format_value(value: object) -> str:
    """Return a value as it is typed in an override."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(format_value, value))}]"
    text = hex(value) if isinstance(value, int) and value.bit_length() > 10_000 else str(value)  # Python's limit
    plain = not set(text) & set(",[](){}") and text[:1] not in ("'", '"') and text == text.strip()
    return text if plain else quote_text(text)  # which would be read as lists, as sweeps or as quoted


def quote_text(text: str) -> str:
    """Return text in quotes, as Hydra's grammar reads it: a backslash is one, but before a quote two are."""
    return "'" + re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + match[2].replace("'", "\\'"), text) + "'"


def to_plain_tree(recipe: Any) -> dict[str, Any]:
    """Return a recipe as a tree of plain values, as YAML and JSON write it."""
    return {key: to_plain_value(value) for key, value in asdict(recipe).items()}


def to_plain_value(value: Any) -> Any:
    """Return a value of a recipe with dicts, lists and text for dataclasses, tuples and paths."""
    if isinstance(value, dict):
        return {key: to_plain_value(v) for key, v in value.items()}
    if isinstance(value, tuple):
        return [to_plain_value(v) for v in value]
    return str(value) if isinstance(value, Path) else value
