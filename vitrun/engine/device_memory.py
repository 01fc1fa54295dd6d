"""Memory of a run on the device at hand, by part, as a dry run names it."""

import torch

from vitrun import data, models
from vitrun.engine.activations import count_activations
from vitrun.engine.computing import describe_windows
from vitrun.engine.interfaces import Objective
from vitrun.engine.memory_plan import Hardware, Setting, StateSize
from vitrun.recipes import Training
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine
from vitrun.runtime.memory import available_memory

PARTS = ("weights", "gradients", "optimizer", "ema", "copies", "activations")


def describe_memory(
    recipe: Training,
    objective: Objective,
    loaded: models.LoadedModel,
    split: data.Split,
    machine: Machine,
    micro_batch: int,
) -> list[str]:
    """Return a line with the parts of a step's memory, and one with the other ``checkpointing``."""
    size = StateSize.measure(loaded.network, recipe.optim, recipe.ema is not None)
    with torch.device("meta"):
        network = objective.build_model(loaded.model, split, loaded.res).network
    fused = machine.device.type == "cuda" or machine.dtype == torch.float32
    compiled = describe_windows(machine, recipe.compile is True, network).get("windows") == "compiled"
    stored = count_activations(network, objective, loaded.res, machine.dtype, fused, compiled)
    workers = min(
        machine.workers_for(loaded.network), -(-recipe.step_images // distributed.world_size() // micro_batch)
    )
    hardware = Hardware(distributed.world_size(), machine.dtype, max(1, workers))
    checkpointed = recipe.checkpointing == "blocks"
    plan, other = (
        hardware.plan(size, stored, Setting(False, flag), micro_batch) for flag in (checkpointed, not checkpointed)
    )
    parts = ", ".join(f"{part} {getattr(plan, part) / 1e9:.2g}" for part in PARTS if getattr(plan, part))
    free = describe_free(machine)
    name = other.setting.checkpointing
    lines = [f"memory: {parts}; in all {plan.total / 1e9:.3g} GB, micro-batch {micro_batch}{free}"]
    if other.total != plan.total:  # a network with batch norm has no blocks that could be checkpointed
        lines.append(f"memory with checkpointing={name}: {other.total / 1e9:.3g} GB")
    return lines


def describe_free(machine: Machine) -> str:
    """Return the end of a line that names the memory of a device."""
    if machine.device.type == "cuda":
        return f", of {torch.cuda.get_device_properties(machine.device).total_memory / 1e9:.3g} GB"
    memory = available_memory() if machine.device.type == "cpu" else None
    return f", of {memory.size / 1e9:.3g} GB that are free" if memory else ""
