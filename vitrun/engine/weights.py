"""Load the weights that ``init`` names: of a run, a file or a tag, or random ones for comparison."""

from collections.abc import Callable
from pathlib import Path

import torch

from vitrun import models
from vitrun.recipes import DEFAULT_RES, tables
from vitrun.runs.lookup import find_weights_file
from vitrun.runtime import distributed, random


def check_init(init: str, res: int | None = None) -> None:
    """Raise UserError if timm has no such tag, or if an untrained network cannot take ``res``; download nothing."""
    if init.startswith("timm:"):
        models.check_tag(init.removeprefix("timm:"))
    if init.startswith("random:"):
        models.check_model(tables.load_model_row(init.removeprefix("random:")), res or DEFAULT_RES)


def load_init(
    init: str, runs: Path, seed: int, log: Callable[[str], None], classes: int | None = None, res: int | None = None
) -> models.LoadedModel:
    """Return the network of a resolved ``init``; log which tensors were loaded, resized, dropped and are new.

    ``classes`` puts a new zero head on; ``res`` resamples the position table. None leaves either unchanged.
    """
    if init.startswith("random:"):
        model = tables.load_model_row(init.removeprefix("random:"))
        torch.manual_seed(random.derive_seed(seed, "weights"))
        res = res or DEFAULT_RES
        log(f"weights: {model.name} at {res} px, untrained, drawn from seed {seed}")
        network = models.build(model, classes or 1, res)
        return models.LoadedModel(network, model, classes or 1, res, None)
    with distributed.rank_zero_first():
        loaded = models.load(find_weights_file(init, runs), classes, res)
    log(f"weights: {loaded.model.name} at {loaded.res} px from {init}")
    for line in loaded.report.lines() if loaded.report else ():
        log(f"  {line}")
    return loaded
