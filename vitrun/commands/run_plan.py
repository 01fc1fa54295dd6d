"""Plan of a run before it is paid for: what ``--dry-run on=h100x8`` prints, without data, weights or a device."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vitrun import data, models, papers
from vitrun.data.sources.registry import find_source
from vitrun.engine import weights
from vitrun.engine.activations import count_activations
from vitrun.engine.interfaces import Objective
from vitrun.engine.memory_plan import Hardware, MemoryPlan, StateSize
from vitrun.errors import UserError
from vitrun.recipes import DEFAULT_RES, Model, Training, macs, tables
from vitrun.recipes.accelerator import Devices, parse_devices
from vitrun.runs.lookup import load_saved_recipe
from vitrun.runs.run import Run

BACKWARD = 2  # a backward pass costs as much as two forward passes
CORE_TFLOPS = 61.5  # of a TPUv3 core in bf16, half a chip (conf/accelerator/tpuv3.yaml)
COST_TABLES = ("table2", "table6")  # which print TPUv3-core-days and exaFLOPs


@dataclass(frozen=True)
class PlannedRun:
    """A run that is planned for devices elsewhere."""

    recipe: Training
    objective: Objective
    model: Model
    classes: int
    images: int  # of an epoch; 0 if they are not known, and not needed
    devices: Devices

    @property
    def res(self) -> int:
        """Return the side of the images."""
        return self.recipe.res or DEFAULT_RES

    def build(self) -> models.Network:
        """Return the network on the meta device."""
        names = tuple(map(str, range(self.classes)))
        split = data.Split(("",), np.zeros(1, np.int64), names, pixels=torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
        with torch.device("meta"):
            return self.objective.build_model(self.model, split, self.res).network


def plan_run(recipe: Training, objective: Objective, model: Model, run: Run) -> dict[str, Any]:
    """Log what a run costs on the devices ``recipe.on``, and with which setting it fits; return the figures."""
    facts = find_source(recipe.data).facts(recipe.data)
    if facts.classes is None or recipe.epochs and not facts.train_images:
        option = "classes" if facts.classes is None else "train_images"
        why = f"needs the number of {option.replace('train_', '')}: add data.{option}=NUMBER."
        raise UserError(why, option="on", value=recipe.on)
    devices = parse_devices(recipe.on or "")
    planned = PlannedRun(recipe, objective, model, facts.classes, facts.train_images or 0, devices)
    dtype = torch.float32 if recipe.precision == "fp32" else torch.bfloat16
    hardware = Hardware(devices.number, dtype)
    size = StateSize.measure(planned.build(), recipe.optim, recipe.ema is not None)
    stored = count_activations(planned.build(), objective, planned.res, dtype, fused=True)
    memory = devices.kind.memory_gb * 1e9
    plans = [
        hardware.plan(size, stored, setting, recipe.micro_batch)
        if isinstance(recipe.micro_batch, int)
        else hardware.choose(size, stored, setting, recipe.step_images, memory)
        for setting in hardware.list_settings()
    ]
    chosen = next((plan for plan in plans if plan.fits(memory)), None)
    return report(planned, size, plans, chosen, run)


def report(
    planned: PlannedRun, size: StateSize, plans: list[MemoryPlan], chosen: MemoryPlan | None, run: Run
) -> dict[str, Any]:
    """Log a plan and return its figures."""
    recipe, devices = planned.recipe, planned.devices
    steps, _ = recipe.count_steps(planned.images)
    products = models.count_macs(planned.model, planned.classes, planned.res)
    images = steps * recipe.step_images
    exaflop = macs.count_exaflop(products, images)
    run.log(
        f"model: {planned.model.name} at {planned.res} px, {size.weights / 1e6:,.1f} M parameters, "
        f"{products / 1e9:,.4g} GMAC per image"
    )
    run.log(f"devices: {devices}, {describe_kind(devices)}")
    run.screen.print_table(*tabulate(plans, devices.kind.memory_gb), names=1, title="memory of each device, GB")
    result: dict[str, Any] = {"on": recipe.on, "steps": steps, "exaflop": exaflop, "fits": chosen is not None}
    speed = devices.number * devices.kind.tflops * devices.kind.utilization * 1e12
    again = (2 + BACKWARD) / (1 + BACKWARD)  # checkpointed blocks are computed twice
    hours = exaflop * 1e18 * (again if chosen and chosen.setting.checkpointed else 1) / speed / 3600
    result |= {"hours": hours, "device_days": hours * devices.number / 24}
    result["memory_gb"] = (chosen or plans[-1]).total / 1e9
    if chosen:
        result |= {"setting": str(chosen.setting), "micro_batch": chosen.micro_batch}
        run.log(f"fits with: {chosen.setting}, micro_batch={chosen.micro_batch}")
    else:
        run.log("fits with none of these settings: take more devices, or those with more memory")
    core_days = exaflop * 1e6 / (CORE_TFLOPS * devices.kind.utilization * 86400)
    run.log(
        f"cost: {steps:,} steps of {recipe.step_images:,} images, {exaflop:,.4g} exaFLOP; {hours:,.4g} hours, "
        f"{result['device_days']:,.4g} device-days at {devices.kind.utilization:.0%} of the peak, which is "
        f"assumed; by TPUv3 cores at the same share {core_days:,.4g} core-days"
    )
    for line in compare_with_paper(planned):
        run.log(line)
    return result | plan_teacher(planned, speed, run)


def plan_teacher(planned: PlannedRun, speed: float, run: Run) -> dict[str, float]:
    """Log and return what it costs to label the images of a run, if it has a teacher, at ``speed`` FLOP a second."""
    recipe = planned.recipe
    if recipe.teacher is None or recipe.unlabelled is None:
        return {}
    number = find_source(recipe.unlabelled).facts(recipe.unlabelled).count_images("train")
    model, saved = weights.find_body(recipe.teacher, recipe.runs), load_saved_recipe(recipe.teacher, recipe.runs)
    if number is None or model is None:
        unknown = "the number of unlabelled images is" if number is None else "the network of a file or a tag is"
        run.log(f"teacher: {unknown} not known before it is opened: its cost is not counted")
        return {}
    res = (saved or {}).get("res") or DEFAULT_RES
    flop = 2 * models.count_macs(model, planned.classes, res) * number
    hours = flop / speed / 3600
    run.log(
        f"teacher: {model.name} at {res} px labels {number:,} images once, {flop / 1e18:,.4g} exaFLOP; {hours:,.4g} "
        "hours more, if they can be read that fast"
    )
    return {"images_to_label": number, "labelling_hours": hours}


def describe_kind(devices: Devices) -> str:
    """Return the published figures of an accelerator with their source."""
    kind = devices.kind
    warning = "" if kind.read else "; the vendor's page was not read"
    return f"{kind.memory_gb:g} GB and {kind.tflops:g} TFLOP/s each ({kind.source}{warning})"


def tabulate(plans: list[MemoryPlan], memory_gb: float) -> tuple[list[str], list[list[str]]]:
    """Return the header and rows of the table of settings."""
    names = ["weights", "gradients", "optimizer", "ema", "copies", "activations", "total"]
    rows = []
    for plan in plans:
        parts = [f"{getattr(plan, name) / 1e9:.3g}" for name in names]
        rows.append([str(plan.setting), str(plan.micro_batch), *parts, "yes" if plan.fits(memory_gb * 1e9) else "no"])
    return ["setting", "micro-batch", *names, f"fits {memory_gb:g}"], rows


def compare_with_paper(planned: PlannedRun) -> list[str]:
    """Return lines with the published cost of pretraining this model, whatever on."""
    row = planned.model.name
    paper = tables.load_model_info(row).paper if row in tables.list_group_files("model") else None
    numbers = [number for table in COST_TABLES for number in papers.load_table(table).numbers]
    return [
        f"published: {number.fields['model']} on {number.fields['upstream']}"
        f"{f', {epochs} epochs' if (epochs := number.fields.get('pretrain_epochs')) else ''}: "
        f"{number.value:g} {number.fields['data']} ({number.source})"
        for number in numbers
        if not number.percent and paper is not None and number.fields["model"] == paper
    ]
