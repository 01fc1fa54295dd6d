"""What a run costs: two of its steps are measured on blank images."""

from dataclasses import replace
from typing import Any

from vitrun.engine.device_memory import describe_memory
from vitrun.engine.image_checks import build_bad_image_budget
from vitrun.engine.plan import peak_memory
from vitrun.engine.trainer import Trainer
from vitrun.runtime import distributed


def rehearse(trainer: Trainer) -> dict[str, Any]:
    """Return what a run costs: its ``steps``, ``seconds_a_step``, ``hours`` and ``memory_gb``.

    Two steps of a few blank images are measured, one micro-batch a worker. That is an upper bound: the update of the
    weights, which a step has once, is counted as often as these images fit into a batch.
    """
    recipe, run, train, machine = trainer.recipe, trainer.run, trainer.train_data, trainer.machine
    trainer.check_images(build_bad_image_budget(train, recipe.bad_images, run))
    trainer.fit_layout(choose=True, measure=False)
    trainer.log_plan()
    micro = trainer.state.micro_batch
    for line in describe_memory(recipe, trainer.objective, trainer.loaded, train, machine, micro):
        run.log(line)
    ranks = distributed.world_size()
    share = recipe.step_images // ranks
    few = min(share, trainer.layout.at_once)
    blank = trainer.make_blank_batch(few)
    options = replace(trainer.fit_options(run.raise_if_interrupted), images=few * ranks, lr=lambda step: 0.0)
    *_, last = trainer.fit([blank, blank], options)
    seconds = last.step_seconds * share / few
    hours = seconds * trainer.steps / 3600
    memory = peak_memory(machine.device) / 1e9
    return {"steps": trainer.steps, "seconds_a_step": seconds, "hours": hours, "memory_gb": memory}
