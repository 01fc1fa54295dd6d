"""What the scripts take from the package and from the tests is there: they run for minutes, and by hand alone."""

import ast
import re
from importlib import import_module
from importlib.util import find_spec

import pytest

from helpers.paths import ROOT

OURS = ("vitrun", "helpers")
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))


def chains(tree: ast.Module) -> set[str]:
    """The dotted names of all that a script takes from what is ours: what it imports, and what stands behind that."""
    here = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in OURS
        for alias in node.names
    }
    dotted = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    behind = (name.split(".") for name in dotted if re.fullmatch(r"[\w.]+", name))  # of a name, and of no call
    return {*here.values(), *(".".join([here[first], *rest]) for first, *rest in behind if first in here)}


def there(name: str) -> bool:
    """Whether a dotted name leads to something, by way of modules as far as there are any."""
    parts = name.split(".")
    modules = [n for n in range(1, len(parts) + 1) if is_module(".".join(parts[:n]))]
    found = import_module(".".join(parts[: modules[-1]]))
    for part in parts[modules[-1] :]:
        if isinstance(found, type) and not hasattr(found, part):
            return part in getattr(found, "__annotations__", {})
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def is_module(name: str) -> bool:
    """Whether a module has that dotted name."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is none, or no package
        return False


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_finds_all_that_it_takes(script):
    assert not [name for name in chains(ast.parse(script.read_text(encoding="utf-8"))) if not there(name)]
