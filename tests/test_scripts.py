"""What the scripts take from the package and from the tests exists. They are run by hand only, and take minutes."""

import ast
import re
from importlib import import_module
from importlib.util import find_spec

import pytest

from helpers.paths import ROOT

OURS = ("vitrun", "helpers")
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))


def imported_names(tree: ast.Module) -> set[str]:
    """Return the dotted names of what a script takes from vitrun and helpers: its imports and their attributes."""
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in OURS
        for alias in node.names
    }
    dotted = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    attributes = (name.split(".") for name in dotted if re.fullmatch(r"[\w.]+", name))  # of names, not of calls
    return {
        *imported.values(),
        *(".".join([imported[first], *rest]) for first, *rest in attributes if first in imported),
    }


def name_exists(name: str) -> bool:
    """Return whether a dotted name exists: modules first, then attributes."""
    parts = name.split(".")
    modules = [n for n in range(1, len(parts) + 1) if is_module(".".join(parts[:n]))]
    value = import_module(".".join(parts[: modules[-1]]))
    for part in parts[modules[-1] :]:
        if isinstance(value, type) and not hasattr(value, part):
            return part in getattr(value, "__annotations__", {})
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True


def is_module(name: str) -> bool:
    """Return whether a module has that dotted name."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # its parent does not exist, or is no package
        return False


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_name_that_a_script_imports_exists(script):
    assert not [name for name in imported_names(ast.parse(script.read_text("utf-8"))) if not name_exists(name)]
