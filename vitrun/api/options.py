"""Options that Python passes by name, as overrides."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from vitrun.api.result import Result
from vitrun.errors import UserError


def flatten_options(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name of each option and its value as an override has it."""
    for name, value in options.items():
        key = f"{prefix}{name}".replace("__", ".")
        if isinstance(value, Mapping) and not isinstance(value, Result):
            yield from flatten_options(value, f"{key}.")
        else:
            yield key, format_option(key, value)


def format_option(key: str, value: Any) -> str:
    """Return a value as an override has it; raise UserError about one that no option takes."""
    from vitrun.recipes.trees import format_value

    if isinstance(value, Result):
        return str(value.folder)
    if hasattr(value, "tolist"):  # of numpy and torch
        value = value.tolist()
    if isinstance(value, list | tuple | range):
        return f"[{','.join(format_option(key, item) for item in value)}]"
    if value is None or isinstance(value, str | int | float | os.PathLike):
        return format_value(value)
    kind = type(value).__qualname__
    raise UserError(
        f"{key} takes text, numbers, True, False, None, paths and lists of these, not a {kind}.", option=key
    )


def check_lists(command: str, pairs: Mapping[str, str]) -> None:
    """Raise a UserError about a list that is given for an option which takes one value."""
    from vitrun.recipes import options

    for key, value in pairs.items():
        if value.startswith("[") and options.is_scalar(command, key):
            raise UserError(f"{key}={value}: takes one value; call the function once for each of them.", option=key)
