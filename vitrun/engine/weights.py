"""Where ``init`` gets its weights: a run, a file, a tag, or fresh ones for comparison."""

from collections.abc import Callable
from pathlib import Path

import torch

from vitrun import models
from vitrun.recipes import NATIVE, tables
from vitrun.runs.lookup import weights_file
from vitrun.runtime import distributed, random


def check(init: str, res: int | None = None) -> None:
    """A Mistake where timm has no such tag, or no untrained network of ``init`` takes ``res``: nothing is fetched."""
    if init.startswith("timm:"):
        models.check_tag(init.removeprefix("timm:"))
    if init.startswith("random:"):
        models.check(tables.model_row(init.removeprefix("random:")), res or NATIVE)


def load(
    init: str, runs: Path, seed: int, say: Callable[[str], None], classes: int | None = None, res: int | None = None
) -> models.Loaded:
    """The network behind a resolved ``init``, and aloud what was kept, resized, dropped and new.

    ``classes`` puts a new zero head on; ``res`` resamples the position tables. None leaves either as it is.
    """
    if init.startswith("random:"):
        model = tables.model_row(init.removeprefix("random:"))
        torch.manual_seed(random.key(seed, "weights"))
        res = res or NATIVE
        say(f"weights: {model.name} at {res} px, untrained, drawn from seed {seed}")
        network = models.build(model, classes or 1, res)
        return models.Loaded(network, model, classes or 1, res, None)
    with distributed.first():
        loaded = models.load(weights_file(init, runs), classes, res)
    say(f"weights: {loaded.model.name} at {loaded.res} px from {init}")
    for line in loaded.report.lines():
        say(f"  {line}")
    return loaded
