"""What the scripts take from the package is there: they run for minutes, and by hand alone."""

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "scripts").glob("*.py"))


def taken(tree: ast.Module) -> list[tuple[str, str]]:
    """The modules of the package and the names in them that a script uses, behind a dot or by itself."""
    found = [
        (node.module, alias.name, alias.asname or alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "vitrun"
        for alias in node.names
    ]
    modules = {here: f"{module}.{name}" for module, name, here in found if find_spec(module).submodule_search_locations}
    modules = {here: module for here, module in modules.items() if find_spec(module)}
    dotted = [
        (modules[node.value.id], node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
    ]
    return [(module, name) for module, name, _ in found] + dotted


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_finds_all_that_it_takes(script):
    absent = []
    for module, name in taken(ast.parse(script.read_text(encoding="utf-8"))):
        if not hasattr(import_module(module), name) and not is_module(module, name):
            absent.append(f"{module}.{name}")
    assert not absent


def is_module(package: str, name: str) -> bool:
    """Whether a package holds a module of that name."""
    return bool(find_spec(package).submodule_search_locations) and find_spec(f"{package}.{name}") is not None
