"""The examples of docs/extending.md work as they are printed."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hatchling.build import build_wheel
from PIL import Image

from helpers.paths import ROOT
from helpers.processes import CommandProcess
from vitrun.config import resolve
from vitrun.engine import optim, schedule

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([^`\n]+)`\n\n```\w+\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
SITE = "site-packages"
PACKAGES = ("vitrun-rotation", "vitrun-stripes", "vitrun-patches")
COMMANDS = [line.split() for line in re.findall(r"^vitrun (.*)$", PAGE, re.MULTILINE)]
ENTRIES = re.findall(r'^("\w+": lambda .*),$', PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """Write the page's files and some photographs; return the folder to start vitrun in."""
    folder = tmp_path_factory.mktemp("extending")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for package in PACKAGES:
        install(folder / package, folder / SITE)
    generator = np.random.default_rng(0)
    for file in (f"{part}/{label}/{n}.png" for part in ("train", "test") for label in ("cat", "dog") for n in range(8)):
        (path := folder / "photographs" / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
    return folder


def install(package: Path, site: Path) -> None:
    """Build the wheel of a package, as pip does, and unpack it into the folder ``site``."""
    with contextlib.chdir(package):
        wheel = build_wheel(str(package))
    zipfile.ZipFile(package / wheel).extractall(site)


def make_environment(folder: Path) -> dict[str, str]:
    """Return an environment in which the packages of ``folder`` are installed."""
    path = os.pathsep.join([str(ROOT), str(folder / SITE)])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def python_m_vitrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the command line in ``folder`` in a new interpreter."""
    command = [sys.executable, "-m", "vitrun", *arguments]
    return subprocess.run(command, cwd=folder, env=make_environment(folder), capture_output=True, text=True)


def vitrun(folder: Path, *arguments: str) -> CommandProcess:
    """Run the command line in ``folder`` in a forked process."""
    process = CommandProcess(*arguments, folder=folder, environment=make_environment(folder))
    process.wait()
    return process


def train(folder: Path, command: list[str], *overrides: str) -> dict:
    """Return the result of a command of the page, with overrides for a short run."""
    assert command in COMMANDS
    short = ["batch=8", "steps=3", "epochs=null", "warmup=1"]
    done = vitrun(folder, *command, *short, *overrides, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_file_and_command_of_the_page_is_tested_here():
    assert len(FILES) == 14 and len(COMMANDS) == 10 and len(ENTRIES) == 2


def test_the_model_of_the_page_is_listed_trained_and_fine_tuned_on_the_data_set_of_the_page(workplace):
    listed = vitrun(workplace, "models", "only=[tiny]", "res=32")
    assert "| tiny " in listed.stdout and listed.returncode == 0, listed.stderr
    row = vitrun(workplace, "data", "cats_dogs")
    assert re.search(r"^\| train \| 16 +\| 2 ", row.stdout, re.MULTILINE), row.stderr
    result = train(workplace, ["pretrain", "model=tiny"], "data.train_images=32", "data.test_images=16")
    assert 0 <= result["top1"] <= 1
    command = ["finetune", "init=random:tiny", "data=cats_dogs", "res=32"]
    assert train(workplace, command)["test_images"] == 16
    shown = vitrun(workplace, *command, "protocol=brief", "--cfg")
    assert re.search(r"^steps=40 +# \./conf/protocol/brief\.yaml$", shown.stdout, re.MULTILINE), shown.stdout
    assert re.search(r"^data.flip=false +# \./conf/data/cats_dogs\.yaml$", shown.stdout, re.MULTILINE), shown.stdout


def test_the_network_of_the_page_is_built_through_timm(workplace):
    result = train(workplace, ["pretrain", "model=mean_of_patches"], "data.train_images=32", "data.test_images=16")
    assert 0 <= result["top1"] <= 1


def test_the_optimizer_and_the_schedule_of_the_page_fit_into_their_tables():
    entries = eval(f"{{{', '.join(ENTRIES)}}}", vars(optim))
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    options = resolve.resolve_recipe("pretrain", ["optim=adamw", "optim.lr=0.1"]).optim
    entries["adamax"]([parameter], options).step()
    assert (parameter < 1).all()
    assert [entries["sqrt"](schedule.DecayPoint(0.1, 0.0, progress, 1.0, 0.0)) for progress in (0, 0.75)] == [0.1, 0.05]


def test_the_objective_of_the_page_trains_and_its_weights_are_fine_tuned(workplace):
    result = train(workplace, ["pretrain", "objective=rotation"], "data.train_images=96", "data.test_images=50")
    assert 0 < result["rotation_top1"] <= 1 and result["test_images"] == 50
    assert 0 <= train(workplace, ["finetune"])["top1"] <= 1


def test_the_source_of_the_page_is_listed_and_trained_on(workplace):
    listed = vitrun(workplace, "data", "stripes")
    assert listed.returncode == 0 and "stripes" in listed.stdout and "| 2 " in listed.stdout, listed.stderr
    assert train(workplace, ["pretrain", "data=stripes"], "data.size=24")["test_images"] == 16
    wrong = vitrun(workplace, "pretrain", "data=stripes", "data.size=0")
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
    done = python_m_vitrun(workplace, "pretrain", "objective=rotation", override)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_package_that_cannot_be_imported_is_named_and_disturbs_neither_help_nor_completion(
    workplace, tmp_path, monkeypatch
):
    shutil.copytree(workplace, tmp_path / "broken", ignore=shutil.ignore_patterns("runs"))
    (tmp_path / "broken" / SITE / "vitrun_rotation/options.py").write_text("import nowhere", encoding="utf-8")
    for arguments in (["pretrain"], ["pretrain", "--help"], ["pretrain", "--config-dir", "conf", "--cfg"]):
        done = python_m_vitrun(tmp_path / "broken", *arguments)
        assert done.returncode == 2 and "vitrun-rotation" in done.stderr and len(done.stderr.splitlines()) == 1
    done = python_m_vitrun(tmp_path / "broken", "--help")
    assert done.returncode == 0 and "pretrain" in done.stdout and not done.stderr
    monkeypatch.setenv("_VITRUN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "vitrun pretrain mo")
    monkeypatch.setenv("COMP_CWORD", "2")
    done = python_m_vitrun(tmp_path / "broken")
    assert not done.stdout.strip() and not done.stderr
