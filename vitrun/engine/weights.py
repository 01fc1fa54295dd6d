"""Load the weights that ``init`` names: of a run, a file or a tag, or random ones for comparison."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from vitrun import models
from vitrun.errors import UserError
from vitrun.recipes import (
    DEFAULT_RES,
    Clip,
    Dedup,
    Detector,
    Eval,
    Fewshot,
    Finetune,
    Generate,
    Model,
    Visualize,
    tables,
)
from vitrun.runs import hub_commits
from vitrun.runs.lookup import describe_choice, find_architecture, find_weights_file, load_saved_recipe
from vitrun.runs.run import Run
from vitrun.runs.run_files import load_about
from vitrun.runtime import distributed, random


class WeightsSource(NamedTuple):
    """Where weights are: a resolved ``init``, the folder of runs, and which of several weights (``init_weights``)."""

    init: str
    runs: Path
    choice: str = "auto"


def check_init(init: str, res: int | None = None) -> None:
    """Raise UserError if timm has no such tag, or if an untrained network cannot take ``res``; download nothing."""
    if init.startswith("timm:"):
        models.check_tag(init.removeprefix("timm:"))
    if init.startswith("random:"):
        models.check_model(tables.load_model_row(init.removeprefix("random:")), res or DEFAULT_RES)


def find_body(init: str, runs: Path) -> Model | None:
    """Return the model row of a resolved ``init``, of a CLIP that of its image tower; None before a file is opened."""
    model = find_architecture(init, runs)
    return models.select_image_row(model) if isinstance(model, Clip) else model


def find_model(init: str, runs: Path) -> Model:
    """Return the model row of a resolved ``init``; raise UserError if it is only known once a file is opened."""
    model = find_body(init, runs)
    if model is None:
        why = "is a file or a tag, whose network is not known before it is opened: plan with init=random:MODEL."
        raise UserError(why, option="init", value=init)
    return model


def load_for_run(
    recipe: Finetune | Fewshot | Eval | Dedup | Visualize | Generate,
    run: Run,
    seed: int = 0,
    classes: int | None = None,
) -> models.LoadedModel:
    """Return the network of a recipe's ``init`` at its resolution; record and pin the commit of the Hub."""
    source = WeightsSource(recipe.init or "", recipe.runs, recipe.init_weights)
    load = partial(load_init, log=run.log, seed=seed, classes=classes, res=recipe.res)
    return load_pinned(source, run, hub_commits.COMMIT_KEY, load)


def load_teacher(init: str, run: Run, res: int | None) -> models.LoadedModel:
    """Return the network of a resolved ``teacher``, at ``res`` if that is given; record and pin its commit."""
    source = WeightsSource(init, run.recipe.runs)
    return load_pinned(source, run, hub_commits.TEACHER_COMMIT_KEY, partial(load_init, log=run.log, res=res))


def load_pinned(
    source: WeightsSource, run: Run, key: str, load: Callable[[WeightsSource], models.LoadedModel]
) -> models.LoadedModel:
    """Return what ``load`` returns for the commit that ``about.json`` names by ``key``; record and pin a new one."""
    init = hub_commits.insert_commit(source.init, load_about(run.folder), key)  # of the attempt before
    source, was_pinned = source._replace(init=init), hub_commits.find_commit(init, source.runs) is not None
    loaded = load(source)
    if loaded.commit and not run.dry:
        pinned = pin_for_all(source, loaded.commit)
        if any(distributed.all_gather_object(pinned is not None and pinned.commit != loaded.commit)):
            loaded = load(source)  # another run has pinned another commit meanwhile
        elif pinned and not was_pinned:
            run.log(f"  {pinned}")
        run.update_about(**{key: loaded.commit})
    return loaded


def pin_for_all(source: WeightsSource, commit: str) -> hub_commits.PinnedCommit | None:
    """Pin the commit of a source on rank 0; return what is pinned, on all ranks."""
    return distributed.call_on_rank_zero(lambda: hub_commits.pin_commit(source.init, commit, source.runs))


def load_body_for_run(recipe: Fewshot | Dedup | Visualize | Generate, run: Run) -> models.LoadedModel:
    """Return :func:`load_for_run` for a command that does not use the head: weights without one get one of zeros.

    Of a CLIP it is the image tower. Raise a UserError for a detector.
    """
    try:
        loaded = load_for_run(recipe, run)
    except models.NoHead:
        return load_for_run(recipe, run, classes=1)
    check_not_detector(loaded.model, recipe.init or "")
    if not isinstance(loaded.network, models.Clip):
        return loaded
    run.log("  its image tower is used, without the projection")
    return models.take_image_tower(loaded)


def load_body_for_detector(recipe: Finetune, run: Run) -> models.LoadedModel:
    """Return the network of a recipe's ``init`` at its own resolution, with any head; of a CLIP the image tower."""
    if not (recipe.init or "").startswith("random:"):
        recipe = replace(recipe, res=None)
    try:
        loaded = load_for_run(recipe, run, recipe.seed)
    except models.NoHead:
        return load_for_run(recipe, run, recipe.seed, classes=1)
    return models.take_image_tower(loaded) if isinstance(loaded.network, models.Clip) else loaded


def check_not_detector(model: Model, init: str, option: str = "init") -> None:
    """Raise UserError about ``option`` if a model finds objects, where one is needed that sees whole images."""
    if isinstance(model, Detector):
        why = "which finds objects and has no features or classes of a whole image: give weights of a classifier."
        raise UserError(f"is {model.name}, {why}", option=option, value=init)


def load_init(
    source: WeightsSource, log: Callable[[str], None], seed: int = 0, classes: int | None = None, res: int | None = None
) -> models.LoadedModel:
    """Return the network of a resolved ``init``; log which tensors were loaded, resized, dropped and are new.

    ``classes`` puts a new zero head on, for a CLIP on its image tower; ``res`` resamples the position table. None
    leaves either unchanged. A name on the Hub without a commit means the one that is pinned in the folder of
    runs.
    """
    init, runs, choice = source
    pinned = hub_commits.find_commit(init.partition("@")[0], runs)
    if pinned and init in (pinned.name, pinned.init):
        log(str(pinned))
        init = pinned.init
    if init.startswith("random:"):
        model = tables.load_model_row(init.removeprefix("random:"))
        if isinstance(model, Clip) and classes is not None:
            model = models.select_image_row(model)
        torch.manual_seed(random.derive_seed(seed, "weights"))
        res = res or DEFAULT_RES
        log(f"weights: {model.name} at {res} px, untrained, drawn from seed {seed}")
        number = 0 if isinstance(model, Clip) else classes or 1
        return models.LoadedModel(models.build(model, number, res), model, number, res, None)
    file = find_weights_file(init, runs, choice)
    is_run = load_saved_recipe(init, runs) is not None  # of whose files init_weights has chosen one
    with distributed.rank_zero_first():
        loaded = models.load(file, classes, res, "auto" if is_run else choice)
    log(f"weights: {loaded.model.name} at {loaded.res} px from {init}")
    if is_run and (note := describe_choice(Path(file))):
        log(f"  {note}")
    for line in loaded.report.lines() if loaded.report else ():
        log(f"  {line}")
    return loaded
