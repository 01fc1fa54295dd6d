"""What is computed of all images of a split once, and kept: their features, or anything as costly."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vitrun import data, models, ranks, recipe
from vitrun.init import weights_code
from vitrun.loop import features
from vitrun.machine import Machine
from vitrun.run import Run
from vitrun.views import WholeView


def embed(
    recipe: recipe.Fewshot | recipe.Dedup,
    run: Run,
    machine: Machine,
    loaded: models.Loaded,
    source: recipe.Data,
    split: data.Split,
) -> tuple[Tensor, Tensor]:
    """Features [N, D] and labels [N] of a split; kept in a file that weights, images and view name.

    Two sets may have the same keys and labels (a corrupted copy of one, another column of images): the options of their
    ``source`` tell them apart.
    """

    def compute() -> dict[str, Tensor]:
        batches = data.ahead(data.testing(split, WholeView(loaded.res, **asdict(recipe.view)), recipe.batch))
        network = loaded.network.to(machine.device)
        with run.screen.progress("features", len(split), 0) as bar:
            found, labels = features(network, batches, machine, run.counter(bar))
        return {"features": torch.from_numpy(found), "labels": torch.from_numpy(labels)}

    facts = (
        weights_code(recipe.init, recipe.runs),
        repr(source),
        split.fingerprint,
        loaded.res,
        repr(recipe.view),
        str(machine.dtype),
    )
    found = kept("features", facts, compute, len(split), run)
    return found["features"], found["labels"]


def kept(what: str, facts: tuple[Any, ...], compute: Callable[[], dict[str, Tensor]], images: int, run: Run) -> dict:
    """The tensors that ``compute`` makes, read from a file named after ``facts`` where they were made before."""
    file = run.recipe.runs / what / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.safetensors"
    if ranks.once(file.exists):
        run.say(f"{what} of {images} images read from {file}")
        return load_file(file)
    tensors = compute()
    if ranks.rank() == 0:
        file.parent.mkdir(exist_ok=True)
        keep(tensors, file)
    return tensors


def keep(tensors: dict[str, Tensor], file: Path) -> None:
    """Write a file of tensors so that no reader sees half of it."""
    aside = file.with_suffix(".part")
    save_file(tensors, aside)
    aside.replace(file)
