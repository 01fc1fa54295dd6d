"""Entry points, by which installed packages add to vitrun's tables."""

import sys
from collections.abc import Container
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from vitrun.errors import UserError


def find_plugins(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name; nothing is imported."""
    return {entry.name: entry for entry in read_entry_points(tuple(sys.path)).select(group=group)}


@cache
def read_entry_points(path: tuple[str, ...]) -> Any:
    """Return the entry points of all packages on ``sys.path``; read once for each value of it, which takes 10 ms."""
    return entry_points()


def load_plugin(entry: EntryPoint) -> Any:
    """Import what an entry point names; raise UserError if that fails."""
    try:
        return entry.load()
    except Exception as error:  # whatever the code of another package raises on import
        package = entry.dist.name if entry.dist else entry.module
        raise UserError(
            f"The installed package {package} adds {entry.name} to vitrun, but {entry.value} cannot be loaded: "
            f"{type(error).__name__}: {error}. Mend or uninstall it."
        ) from error


def load_plugins(group: str, known: Container[str]) -> list[Any]:
    """Import what the entry points of a group name, sorted by name, but for those whose names are ``known``."""
    return [load_plugin(entry) for name, entry in sorted(find_plugins(group).items()) if name not in known]
