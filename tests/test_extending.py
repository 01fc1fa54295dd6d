"""The packages that docs/extending.md adds in front of the reader work as they stand there."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from helpers.overrides import TINY
from helpers.paths import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([^`\n]+)`\n\n```\w+\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
PACKAGES = ("vitrun-rotation", "vitrun-stripes")
COMMANDS = re.findall(r"^vitrun (.*)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """Write the page's files; return their folder, to start vitrun in."""
    folder = tmp_path_factory.mktemp("extending")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for package in PACKAGES:
        install(folder / package)
    return folder


def install(package: Path) -> None:
    """Write the metadata by which Python finds the entry points of ``package/pyproject.toml``."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = package / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    header = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (metadata / "METADATA").write_text(header, encoding="utf-8")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in names.items()) for group, names in groups]
    (metadata / "entry_points.txt").write_text("".join(lines), encoding="utf-8")


def vitrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the command line in ``folder``, with its packages on the path as if installed."""
    path = os.pathsep.join([str(ROOT), *(str(folder / package) for package in PACKAGES)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "vitrun", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_page_has_the_files_of_a_package_and_the_commands_that_use_it():
    assert len(FILES) == 8
    assert COMMANDS == ["pretrain objective=rotation", "finetune", "data stripes", "pretrain data=stripes"]


def test_the_objective_of_the_page_trains_and_its_weights_are_fine_tuned(workplace):
    pretrained, tuned = (
        vitrun(workplace, *COMMANDS[0].split(), *TINY, "--json"),
        vitrun(workplace, *COMMANDS[1].split(), "steps=3", "epochs=null", "batch=8", "warmup=1", "--json"),
    )
    assert pretrained.returncode == tuned.returncode == 0, pretrained.stderr + tuned.stderr
    result = json.loads(pretrained.stdout)
    assert 0 < result["rotation_top1"] <= 1 and result["test_images"] == 50
    assert 0 <= json.loads(tuned.stdout)["top1"] <= 1


def test_the_source_of_the_page_is_listed_and_trained_on(workplace):
    listed = vitrun(workplace, *COMMANDS[2].split())
    assert listed.returncode == 0 and "stripes" in listed.stdout and "| 2 " in listed.stdout, listed.stderr
    overrides = [override for override in TINY if not override.startswith("data.")]
    trained = vitrun(workplace, *COMMANDS[3].split(), *overrides, "data.size=24", "--json")
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["test_images"] == 16
    wrong = vitrun(workplace, *COMMANDS[3].split(), "data.size=0")
    assert wrong.returncode == 2 and "data.size=0" in wrong.stderr and len(wrong.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "override, message",
    [
        ("objective.turns=9", "objective.turns=9"),
        ("objective.turn=2", "objective.turns"),
        ("smoothing=0.1", "smoothing=0.1: is for labels"),
    ],
)
def test_the_options_of_the_page_are_checked_like_vitruns_own(workplace, override, message):
    done = vitrun(workplace, "pretrain", "objective=rotation", override)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_package_that_cannot_be_imported_is_named(workplace, tmp_path):
    shutil.copytree(workplace, tmp_path / "broken", ignore=shutil.ignore_patterns("runs"))
    (tmp_path / "broken/vitrun-rotation/vitrun_rotation/options.py").write_text("import nowhere", encoding="utf-8")
    done = vitrun(tmp_path / "broken", "pretrain")
    assert done.returncode == 2 and "vitrun-rotation" in done.stderr and "Traceback" not in done.stderr
