"""Fixtures of all tests: run a command, the reference folder, small data sets."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.paths import SHARED
from helpers.tars import make_sample, write_tar
from vitrun import commands
from vitrun.config import resolve
from vitrun.runs import execution
from vitrun.runtime.console import Screen


def pytest_configure() -> None:
    """Save time: do not wait for the disk, and compute on one thread if several processes test at the same time."""
    os.fsync = lambda handle: None  # no test cuts the power; commands in forked processes call the real one
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads would spin: two processes took twice as long
    if "PYTEST_XDIST_WORKER" in os.environ:  # one thread saves 13 % of the processor's time
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long tests of this folder (fuzz, soak ...): at the end, other processes would wait for them."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


def pytest_collection_finish() -> None:
    """Exempt imported modules from garbage collection, which otherwise takes a fifth of the time of composing."""
    gc.collect()
    gc.freeze()


def skip_without_shared() -> None:
    """Skip a test if the folder of reference vectors and images is not beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"there is no {SHARED.name} folder beside the checkout")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that are marked ``shared`` where there is no such folder."""
    if item.get_closest_marker("shared"):
        skip_without_shared()


@pytest.fixture
def shared() -> Path:
    """Return the folder of reference vectors and images beside the checkout; skip the test where there is none."""
    skip_without_shared()
    return SHARED


@pytest.fixture
def run_command(tmp_path):
    """Run a command in ``tmp_path/runs``, as the command line does; return the recipe and the result."""

    def run_command(command: str, *overrides: str, dry: bool = False):
        recipe = resolve.resolve_recipe(command, [*overrides, f"runs={tmp_path / 'runs'}"])
        return recipe, execution.execute_run(
            command, recipe, Screen(quiet=True), commands.import_command(command).execute, dry
        )

    return run_command


@pytest.fixture
def shards(tmp_path) -> Path:
    """Write three training shards of 10, 7 and 12 images, and a test shard of 6."""
    numbers = iter(range(100))
    for name, images in (("train-0", 10), ("train-1", 7), ("train-2", 12), ("val-0", 6)):
        write_tar(tmp_path / "set" / f"{name}.tar", [f for _ in range(images) for f in make_sample(next(numbers))])
    return tmp_path / "set"


@pytest.fixture
def photographs(tmp_path) -> Path:
    """Write class folders of images of different sizes."""
    generator = np.random.default_rng(0)
    for part, number in (("train", 6), ("test", 4)):
        for name in ("cat", "dog"):
            place = tmp_path / "photographs" / part / name
            place.mkdir(parents=True)
            for n in range(number):
                pixels = generator.integers(0, 255, (40 + n, 50 - n, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{n}.{'png' if n % 2 else 'jpg'}")
    return tmp_path / "photographs"
