"""Load the weights that ``init`` names: of a run, a file or a tag, or random ones for comparison."""

import torch

from vitrun import models
from vitrun.recipes import DEFAULT_RES, Dedup, Eval, Export, Fewshot, Finetune, tables
from vitrun.runs.lookup import find_weights_file, load_saved_recipe
from vitrun.runs.run import Run
from vitrun.runtime import distributed, random
from vitrun.runtime.console import Screen


def check_init(init: str, res: int | None = None) -> None:
    """Raise UserError if timm has no such tag, or if an untrained network cannot take ``res``; download nothing."""
    if init.startswith("timm:"):
        models.check_tag(init.removeprefix("timm:"))
    if init.startswith("random:"):
        models.check_model(tables.load_model_row(init.removeprefix("random:")), res or DEFAULT_RES)


def load_init(
    recipe: Finetune | Fewshot | Eval | Dedup | Export,
    output: Run | Screen,
    seed: int = 0,
    classes: int | None = None,
    res: int | None = None,
) -> models.LoadedModel:
    """Return the network of a recipe's ``init``; log which tensors were loaded, resized, dropped and are new.

    ``classes`` puts a new zero head on; ``res`` resamples the position table. None leaves either unchanged. A run
    records the commit of weights from the Hub in ``about.json``.
    """
    init = recipe.init or ""
    if init.startswith("random:"):
        model = tables.load_model_row(init.removeprefix("random:"))
        torch.manual_seed(random.derive_seed(seed, "weights"))
        res = res or DEFAULT_RES
        output.log(f"weights: {model.name} at {res} px, untrained, drawn from seed {seed}")
        network = models.build(model, classes or 1, res)
        return models.LoadedModel(network, model, classes or 1, res, None)
    source = find_weights_file(init, recipe.runs, recipe.init_weights)
    is_run = load_saved_recipe(init, recipe.runs) is not None  # of whose files init_weights has chosen one
    with distributed.rank_zero_first():
        loaded = models.load(source, classes, res, "auto" if is_run else recipe.init_weights)
    output.log(f"weights: {loaded.model.name} at {loaded.res} px from {init}")
    for line in loaded.report.lines() if loaded.report else ():
        output.log(f"  {line}")
    if loaded.commit and isinstance(output, Run):
        output.update_about(weights_commit=loaded.commit)
    return loaded
