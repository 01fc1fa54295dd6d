"""What pretraining and fine-tuning share: one run from its data, network and recipe to its result."""

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from vitrun import data, models, recipes
from vitrun.data.transforms.randaugment import RandAugment
from vitrun.data.transforms.views import CropView
from vitrun.engine import optim
from vitrun.engine.inputs import make_eval_batches, open_parts
from vitrun.engine.loop import Step, fit
from vitrun.engine.losses import LabelObjective, check_loss
from vitrun.engine.masked_patches import MaskedPatchObjective
from vitrun.engine.online_probe import OnlineProbe
from vitrun.engine.progress import Meter
from vitrun.engine.state import TrainState, checkpoint_size, restore_checkpoint, save_checkpoint, use_ema
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import BiT, Fewshot, Timm, Training, ViT
from vitrun.runs.run import Interrupted, Run
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine, choose_device, choose_micro_batch
from vitrun.runtime.files import read_json

RESNET_TOKENS = 197  # taken for a network that has none: the positions of a ResNet's middle stage at 224 pixels


@dataclass(frozen=True)
class Plan:
    """A network, what it is, and what it is trained on."""

    network: nn.Module
    model: ViT | BiT | Timm
    res: int
    train: data.Split
    test: data.Split
    masking: MaskedPatchObjective | None = None  # none where it is trained for labels
    probes: Mapping[str, Fewshot] = field(default_factory=dict)  # how it is probed on the way, by the name of the data
    probed_every: int | str | None = None  # steps, or a share of the run

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of what the network tells apart; none where it is trained without labels."""
        return () if self.masking else self.train.classes


def open_data(
    recipe: Training,
    run: Run,
    excluded: Sequence[str] = (),
    dev: float = 0.0,
    score: str = "test",
    open_split: Callable[..., data.Split] = data.open_split,
) -> tuple[data.Split, data.Split]:
    """The training part without what is ``excluded`` and the share ``dev``; and the test part, or that share to score.

    They are opened where the device is there, and returned where the loss, if it reads labels, fits them.

    A UserError at the start of a run where a test image cannot be read, for all of the training would come before that.
    """
    choose_device(recipe.device)
    if recipe.batch < distributed.world_size():
        raise UserError(
            f"batch={recipe.batch} is less than an image for each of {distributed.world_size()} ranks: give a larger one."
        )
    parts = ("train",) if dev and score == "dev" else ("train", "test")
    train, *opened = open_parts(recipe.data, parts, run, excluded=excluded, open_split=open_split)
    held = train
    if dev:
        train, held = data.hold_out(train, dev)
        run.log(f"held out: {len(held)} of the training images, by a draw{'' if opened else ', to be scored on'}")
    test = opened[0] if opened else held
    if recipe.uses_labels:
        check_loss(recipe.loss, train, test)
    if not (distributed.rank() or run.can_resume or run.dry) and (bad := data.find_bad_images(test)):
        raise UserError(
            f"{len(bad)} of {len(test)} test images cannot be read: {next(iter(bad.values()))}", ExitCode.DATA
        )
    return train, test


def train(recipe: Training, plan: Plan, run: Run) -> dict[str, Any]:
    """Train as the recipe says, from where the run stands; the result of the test that follows."""
    machine = Machine(recipe.device, recipe.precision)
    steps, warmup = count_steps(recipe, len(plan.train))
    state = build_state(recipe, plan, run, machine)
    log_plan(recipe, plan, run, machine, state, steps)
    if run.dry:
        return rehearse(recipe, plan, run, machine, state, steps)
    probing = OnlineProbe(plan.probes, plan.probed_every, steps, run, machine)
    meter = Meter(run, state.step, steps, recipe.batch)
    bad = build_bad_image_budget(recipe, plan, run)
    batches = data.train_batches(
        plan.train, build_training_view(recipe, plan), recipe.batch, recipe.seed, state.step, steps, bad
    )
    done = fit_with_recipe(recipe, plan, state, batches, steps, warmup, machine, meter.tick)
    saved = time.monotonic()
    try:
        with meter:
            probing.probe_if_due(state, plan.res, meter)
            for step in done:
                meter.record_step(step)
                bad.sync()
                probing.probe_if_due(state, plan.res, meter)
                due, *_ = distributed.all_gather_object(
                    time.monotonic() - saved >= recipe.save_minutes * 60
                )  # by the first one's clock
                if due and step.number < steps:
                    save_checkpoint(state, plan.model, plan.classes, plan.res, run)
                    saved = time.monotonic()
    except Interrupted:
        if save_checkpoint(state, plan.model, plan.classes, plan.res, run):
            run.log(f"saved step {state.step} of {steps}")
        raise
    measured = meter.summary()  # before the test, whose time is not that of training
    save_checkpoint(state, plan.model, plan.classes, plan.res, run, final=True)
    return {**run_test(recipe, plan, state, run, machine), **measured, **bad.summary(), **probing.summary()}


def fit_with_recipe(
    recipe: Training,
    plan: Plan,
    state: TrainState,
    batches: Iterable[data.Batch],
    steps: int,
    warmup: int,
    machine: Machine,
    tick: Callable[[int], None],
) -> Iterator[Step]:
    """:func:`fit` with the objective, schedule, clip, Polyak average and seed of the recipe; batches made ahead."""
    aim = build_objective(recipe, plan)
    return fit(
        state,
        data.prefetch(
            (aim.prepare(batch, step) for step, batch in enumerate(batches, state.step)), machine.loader_threads
        ),
        lr=optim.build_schedule(recipe.schedule, recipe.optim.lr, steps, warmup, recipe.schedule_end, recipe.drops),
        objective=aim.loss,
        clip=recipe.clip,
        decay=recipe.ema,
        seed=recipe.seed,
        machine=machine,
        tick=tick,
    )


def build_training_view(recipe: Training, plan: Plan) -> CropView:
    """What a training image looks like: the data set's crop and flip, then RandAugment where there is any."""
    asked, seed = recipe.augment, recipe.seed
    augment = RandAugment(asked.randaugment, asked.layers, asked.magnitude, seed) if asked.layers else None
    crop = recipe.data
    return CropView(plan.res, crop.crop, crop.area, crop.flip, seed, recipe.view.antialias, augment)


def build_objective(recipe: Training, plan: Plan) -> LabelObjective | MaskedPatchObjective:
    """What the network is trained for."""
    return plan.masking or LabelObjective(recipe.loss, recipe.smoothing, recipe.augment.mixup, recipe.seed)


def count_steps(recipe: Training, images: int) -> tuple[int, int]:
    """Steps of the run and of its warm-up; a UserError where the images are too few for them."""
    try:
        return recipes.count_steps(recipe, images)
    except ValueError as error:
        raise UserError(str(error)) from None


def build_bad_image_budget(recipe: Training, plan: Plan, run: Run) -> data.BadImageBudget:
    """What counts the bad training images, from those that the run has met before."""

    def tell(key: str, sentence: str) -> None:
        run.log_metrics({"bad_image": key})
        run.warn(f"replaced in training: {sentence}")

    return data.BadImageBudget(
        plan.train, recipe.bad_images, tell, [line["bad_image"] for line in run.read_metrics("bad_image")]
    )


def build_state(recipe: Training, plan: Plan, run: Run, machine: Machine) -> TrainState:
    """The state at the newest checkpoint, or at step 0."""
    if distributed.world_size() > 1 and any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) for module in plan.network.modules()
    ):
        raise UserError(
            f"{plan.model.name} keeps statistics of batches, which each rank would have its own of: use one."
        )
    plan.network.to(machine.device)
    optimizer = optim.build_optimizer(recipe.optim, plan.network)
    micro, share = recipe.micro_batch, recipe.batch // distributed.world_size()
    if micro == "auto":
        tokens, width = models.count_tokens(plan.model, plan.res) or RESNET_TOKENS, plan.network.head.in_features
        micro = choose_micro_batch(share, tokens, width, machine.device, machine.workers_for(plan.network))
    ema = [p.detach().clone() for p in plan.network.parameters()] if recipe.ema is not None else None
    state = TrainState(plan.network, optimizer, ema, 0, micro)
    run.check_disk_space(checkpoint_size(state))
    checkpoint = run.newest_checkpoint()
    if checkpoint is not None:
        restore_checkpoint(state, checkpoint)
        if recipe.micro_batch != "auto":
            state.micro_batch = recipe.micro_batch
    run.computing = {
        "device": machine.device.type,
        "precision": "bf16" if machine.dtype == torch.bfloat16 else "fp32",
        "ranks": distributed.world_size(),
        "threads": machine.cores,
        "micro_batch": state.micro_batch,
    }
    if checkpoint is not None:
        before = read_json(checkpoint / "MANIFEST.json")
        others = [f"{key} {now}, not {before[key]}" for key, now in run.computing.items() if before[key] != now]
        said = f" with {'; '.join(others)}: from here on perhaps not to the same bits" if others else ""
        run.log(f"resumes from step {state.step} ({checkpoint.name}){said}")
    run.update_about(computing=run.computing)
    return state


def run_test(recipe: Training, plan: Plan, state: TrainState, run: Run, machine: Machine) -> dict[str, Any]:
    """What the objective tells of every test image: of labels top-1, top-5 and loss."""
    batches = make_eval_batches(plan.test, plan.res, recipe.view, recipe.batch, machine)
    with use_ema(state):
        return build_objective(recipe, plan).evaluate(state.network, batches, machine, run.raise_if_interrupted)


def log_plan(recipe: Training, plan: Plan, run: Run, machine: Machine, state: TrainState, steps: int) -> None:
    """Tell what will be computed."""
    count = sum(parameter.numel() for parameter in plan.network.parameters())
    macs = models.count_macs(plan.model, len(plan.classes), plan.res)
    run.log(
        f"model: {plan.model.name} at {plan.res} px, {count / 1e6:.1f} M parameters, {macs / 1e9:.3g} GMAC an image"
    )
    images, per_epoch = steps * recipe.batch, len(plan.train)
    run.log(
        f"plan: {steps} steps of {recipe.batch} images ({images / per_epoch:.1f} epochs, "
        f"{images * macs * 6 / 1e18:.2g} exaFLOP), micro-batch {state.micro_batch}, on {machine}"
    )


def rehearse(recipe: Training, plan: Plan, run: Run, machine: Machine, state: TrainState, steps: int) -> dict[str, Any]:
    """Two steps of a few made-up images, a micro-batch a lane: what a step costs at most, and so the whole run.

    At most, for the optimizer's part, which a step has once, is counted as often as there are such few images in it.
    """
    share = recipe.batch // distributed.world_size()
    few = min(share, state.micro_batch * machine.workers_for(plan.network))
    images = torch.zeros(few, 3, plan.res, plan.res)
    batch = data.Batch(images, torch.zeros(few, dtype=torch.long), torch.zeros(few).numpy())
    aim = build_objective(recipe, plan)
    batch = aim.prepare(batch, 0)
    taken = fit(state, [batch, batch], lr=lambda step: 0.0, objective=aim.loss, clip=recipe.clip,
                decay=recipe.ema, seed=recipe.seed, machine=machine, tick=run.raise_if_interrupted)  # fmt: skip
    seconds = [step.step_seconds for step in taken][-1] * share / few
    # ru_maxrss is in kilobytes on Linux, in bytes on macOS
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if machine.device.type == "cuda":
        memory = torch.cuda.max_memory_allocated()
    return {"steps": steps, "seconds_a_step": seconds, "hours": seconds * steps / 3600, "memory_gb": memory / 1e9}
