"""What the tests share: runs of the real verbs, small, and the reference folder where there is one."""

import os
from importlib import import_module
from pathlib import Path

import pytest
from tars import sample, write

from vitrun import run, start
from vitrun.screen import Screen

SHARED = Path(__file__).parents[2] / "shared"
TINY = ["model=vit_nano8", "data.train_images=96", "data.test_images=50", "batch=32", "steps=6", "warmup=2"]


def pytest_configure() -> None:
    """Let idle threads of torch sleep: they spin by default, and two processes on two cores then take twice as long."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture
def shared() -> Path:
    """The folder of reference vectors and images beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"there is no {SHARED.name} folder beside the checkout")
    return SHARED


@pytest.fixture
def carry_out(tmp_path):
    """Runs a verb with words in ``tmp_path/runs``, as the command line does: the recipe and the result."""

    def carry_out(verb: str, *words: str, dry: bool = False):
        recipe = start.load(verb, [*words, f"runs={tmp_path / 'runs'}"])
        return recipe, run.carry_out(verb, recipe, Screen(quiet=True), import_module(f"vitrun.{verb}").main, dry)

    return carry_out


@pytest.fixture
def shards(tmp_path) -> Path:
    """Three training shards of 10, 7 and 12 images, and one of 6 to test."""
    numbers = iter(range(100))
    for name, images in (("train-0", 10), ("train-1", 7), ("train-2", 12), ("val-0", 6)):
        write(tmp_path / "set" / f"{name}.tar", [f for _ in range(images) for f in sample(next(numbers))])
    return tmp_path / "set"
