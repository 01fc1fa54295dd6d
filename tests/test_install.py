"""What pyproject.toml declares is what the package imports; the base needs nothing else to run."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import numpy as np
import pytest

from helpers.paths import ROOT
from vitrun import data
from vitrun.recipes import tables
from vitrun.runtime import environment

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# torch.onnx needs onnx, who runs an export onnxruntime, torch.utils.tensorboard tensorboard
UNIMPORTED = {"onnx", "onnxruntime", "tensorboard"}


def names(requirements) -> set[str]:
    """Return the normalized names of packages in requirements."""
    return {re.split(r"[\[<>=~! ;]", text)[0].lower().replace("_", "-") for text in requirements}


def imports() -> dict[str, set[str]]:
    """Return the modules of the package that import each outside package, by the name that pip installs."""
    imported: dict[str, set[str]] = {}
    distributions = packages_distributions()
    for file in sorted((ROOT / "vitrun").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for module in {name.split(".")[0] for name in modules} - sys.stdlib_module_names - {"vitrun"}:
                for name in names(distributions.get(module, [module])):
                    imported.setdefault(name, set()).add(file.relative_to(ROOT).as_posix())
    return imported


def test_every_imported_package_is_declared_and_every_declared_one_is_imported():
    base, extras = (
        names(PROJECT["dependencies"]),
        names([package for extra in EXTRAS if extra != "dev" for package in EXTRAS[extra]]),
    )
    used = imports()
    undeclared = {name: files for name, files in used.items() if name not in base | extras}
    assert not undeclared
    assert not (base | extras) - {*used} - UNIMPORTED


def test_the_digits_are_those_of_scikit_learn():
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    source, row = load_digits(), tables.load_data_row("digits")
    seen = set()
    for part in ("train", "test"):
        split = data.open_split(row, part)
        rows = [int(key.removeprefix("digit-")) for key in split.keys]
        expected = np.rint(source.images[rows] * (255 / 16)).astype(np.uint8)
        assert np.array_equal(split.pixels[:, 0].numpy(), expected)
        assert np.array_equal(split.labels, source.target[rows]) and split.labels.dtype == np.int64
        seen |= {*rows}
    assert seen == {*range(len(source.target))}


def test_a_machine_without_git_is_described(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment.describe_environment()["commit"] is None


def test_the_image_is_built_from_files_of_the_repository_and_from_nothing_else():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    sources = [part for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for part in line.split()]
    assert {"pyproject.toml", "conf", "vitrun"} <= {*sources} and all((ROOT / name).exists() for name in sources)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "*" and {*ignored[1:]} >= {f"!{name}" for name in sources}
