"""Paths in options that the operating system refuses: too long, through a file, without permission."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import is_utf8

ADVICE = "Check the path, and its permissions."
OUTPUTS = ("runs", "path", "save", "draw")  # options that name what is written, partly by other libraries


@contextmanager
def refused_paths(overrides: Sequence[str]) -> Iterator[None]:
    """Raise a UserError with the option in place of an OSError about the path that an override names."""
    try:
        yield
    except OSError as error:
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else None
        pairs = [(key, value.strip("'\"")) for key, _, value in (override.partition("=") for override in overrides)]
        keys = [key for key, value in pairs if value and name and value in name]
        if not keys or error.strerror is None:
            raise
        value = dict(pairs)[keys[0]]
        raise UserError(f"{error.strerror}. {ADVICE}", ExitCode.DATA, option=keys[0], value=value) from None


def check_paths(recipe: Any) -> None:
    """Raise a UserError about the first path of a recipe that the operating system refuses, whether it exists or not.

    A folder that does not exist yet is not an error: it is created.
    """
    for key, path in list_paths(recipe):
        if key in OUTPUTS and not is_utf8(path):
            raise UserError(
                "is not valid UTF-8, as the name of a file that is written must be.", option=key, value=str(path)
            )
        if key in ("path", "save") and not path.name:
            raise UserError("is an existing folder: add a name for the output in it.", option=key, value=str(path))
        try:
            path.expanduser().stat()
        except FileNotFoundError:
            continue
        except (OSError, RuntimeError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise UserError(f"{why}. {ADVICE}", option=key, value=str(path)) from None


def list_paths(value: Any, key: str = "") -> Iterator[tuple[str, Path]]:
    """Yield the paths in a recipe, or in a part of it, each with its option."""
    if isinstance(value, Path):
        yield key, value
    elif isinstance(value, tuple):
        for part in value:
            yield from list_paths(part, key)
    elif is_dataclass(value):
        for field in fields(value):
            yield from list_paths(getattr(value, field.name), f"{key}.{field.name}".lstrip("."))
