"""Batches have the right images, on one rank and on several."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.images import random_images
from helpers.processes import CommandProcess
from vitrun import data
from vitrun.config import resolve
from vitrun.data.sampler import Order, rank_range
from vitrun.data.transforms.views import CropView


@pytest.fixture
def as_rank(monkeypatch):
    """Return a function that makes this process one of several ranks, without communication."""

    def as_rank(rank: int, size: int) -> None:
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(size))

    return as_rank


@pytest.mark.parametrize("batch", [6, 7])
def test_all_ranks_together_see_the_batches_of_a_single_rank_and_each_image_once_an_epoch(as_rank, batch):
    split = data.open_split(
        resolve.resolve_recipe("pretrain", ["data.train_images=45", "data.test_images=2"]).data, "train"
    )
    split.__dict__["order"] = Order(np.array([0, 5, 20, 21, 45]), 8)  # in shards
    view = CropView(16, "inception", (0.05, 1.0), True, 0)

    def load_batches() -> list[data.Batch]:
        return list(data.train_batches(split, view, batch, 0, range(20)))

    single, parts = load_batches(), []
    for rank in range(3):
        as_rank(rank, 3)
        parts.append(load_batches())
    for step, shares in zip(single, zip(*parts)):
        assert [part.offset for part in shares] == [rank_range(batch, rank, 3)[0] for rank in range(3)]
        assert (np.concatenate([part.indices for part in shares]) == step.indices).all()
        assert (np.concatenate([part.images for part in shares]) == step.images.numpy()).all()
    indices = np.concatenate([part.indices for shares in zip(*parts) for part in shares])
    assert all(sorted(epoch) == list(range(45)) for epoch in indices[:90].reshape(2, 45))


def test_reading_images_does_not_reduce_the_cores_of_the_network(tmp_path):
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for n in range(2):
                Image.new("RGB", (32, 32), (n, len(part), 0)).save(tmp_path / part / name / f"{n}.png")
    overrides = [
        "model=vit_nano8",
        "data=folder",
        f"data.path={tmp_path}",
        "batch=4",
        "steps=3",
        "warmup=1",
        "--dry-run",
    ]
    output = CommandProcess("pretrain", *overrides, environment=os.environ | {"OMP_NUM_THREADS": "2"}).wait()
    assert "on cpu, 2 cores" in output


def make_split(number: int) -> data.Split:
    pixels = random_images(number, 8, 8)
    return data.Split([f"k{n}" for n in range(number)], np.arange(number) % 3, ("a", "b", "c"), pixels=pixels)


def test_every_epoch_has_every_image_once_in_a_new_order():
    view = CropView(8, "none", (1.0, 1.0), False, 0)
    indices = np.concatenate([b.indices for b in data.train_batches(make_split(10), view, 4, 0, range(10))])
    epochs = indices.reshape(4, 10)
    assert (np.sort(epochs, 1) == np.arange(10)).all() and len({tuple(e) for e in epochs}) == 4


def test_batches_from_a_later_step_equal_those_of_the_full_run():
    view = CropView(8, "inception", (0.3, 1.0), True, 0)
    batches = list(data.train_batches(make_split(10), view, 4, 7, range(9)))
    later = list(data.prefetch(data.train_batches(make_split(10), view, 4, 7, range(5, 9))))
    assert all(
        torch.equal(a.images, b.images) and (a.indices == b.indices).all()
        for a, b in zip(batches[5:], later, strict=True)
    )


def test_an_error_in_the_batch_thread_reaches_the_loop():
    def raise_midway():
        yield 1
        raise ValueError("spoilt")

    batches = data.prefetch(raise_midway())
    assert next(batches) == 1
    with pytest.raises(ValueError, match="spoilt"):
        next(batches)


def test_a_process_exits_cleanly_while_a_batch_is_being_made():
    code = (
        "import itertools, torch; from vitrun import data;"
        "batches = data.prefetch(torch.randn(400, 400).logdet() for _ in itertools.count()); next(batches)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
