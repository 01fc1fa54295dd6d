"""What pretraining and fine-tuning share: one run from its data, network and recipe to its result."""

import json
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vitrun import data, models, optim
from vitrun.loop import OBJECTIVES, State, Step, answers, fit
from vitrun.machine import Machine, choose_device, choose_micro_batch
from vitrun.mistakes import Mistake
from vitrun.recipe import BiT, Timm, Training, ViT
from vitrun.run import Run, Stopped
from vitrun.screen import duration, speed
from vitrun.views import CropView, WholeView

LONG = 20 * 60  # seconds of training from which the first estimate is worth a line of its own
TOKENS = 197  # taken for a network that has none: the positions of a ResNet's middle stage at 224 pixels
EARLY = 20  # seconds after which that estimate is made even if no step is done


@dataclass(frozen=True)
class Plan:
    """A network, what it is, and what it is trained on."""

    network: nn.Module
    model: ViT | BiT | Timm
    res: int
    train: data.Split
    test: data.Split

    @property
    def classes(self) -> int:
        return len(self.train.classes)


def open_data(recipe: Training, run: Run) -> tuple[data.Split, data.Split]:
    """The training and the test part, their fingerprints recorded; before that, whether the device is there."""
    choose_device(recipe.device)
    train, test = (data.open_split(recipe.data, part) for part in ("train", "test"))
    run.say(
        f"data: {recipe.data.name}, {len(train)} training and {len(test)} test images, {len(train.classes)} classes"
    )
    run.about(train_data=train.fingerprint, test_data=test.fingerprint)
    return train, test


def train(recipe: Training, plan: Plan, run: Run) -> dict[str, Any]:
    """Train as the recipe says, from where the run stands; the result of the test that follows."""
    machine = Machine(recipe.device, recipe.precision)
    steps, warmup = lengths(recipe, len(plan.train))
    state = begin(recipe, plan, run, machine)
    say_plan(recipe, plan, run, machine, state, steps)
    if run.dry:
        return rehearse(recipe, plan, run, machine, state, steps)
    meter = Meter(run, state.step, steps, recipe.batch)
    view = CropView(plan.res, recipe.data.crop, recipe.data.area, recipe.data.flip, recipe.seed)
    batches = data.training(plan.train, view, recipe.batch, recipe.seed, state.step, steps)
    done = fit(
        state,
        data.ahead(batches),
        lr=optim.schedule(recipe.schedule, recipe.optim.lr, steps, warmup),
        objective=OBJECTIVES[recipe.loss],
        clip=recipe.clip,
        decay=recipe.ema,
        seed=recipe.seed,
        machine=machine,
        tick=meter.tick,
    )
    saved = time.monotonic()
    try:
        with meter:
            for step in done:
                meter.step(step)
                if time.monotonic() - saved >= recipe.save_minutes * 60 and step.number < steps:
                    save(state, plan, run)
                    saved = time.monotonic()
    except Stopped:
        save(state, plan, run)
        run.say(f"saved step {state.step} of {steps}")
        raise
    save(state, plan, run, final=True)
    return {**test(recipe, plan, state, run, machine), **meter.summary()}


def lengths(recipe: Training, images: int) -> tuple[int, int]:
    """Steps of the run and of its warm-up."""
    if recipe.steps:
        steps = recipe.steps
    else:
        examples = recipe.examples or recipe.epochs * images
        steps = max(1, round(examples / recipe.batch))
    warmup = recipe.warmup
    if isinstance(warmup, str):
        warmup = int(float(warmup[:-1]) / 100 * steps)
    if warmup >= steps:
        raise Mistake(
            f"warmup={warmup} leaves nothing of the run's {steps} steps: give a shorter warmup, or a share: warmup=10%"
        )
    return steps, warmup


def begin(recipe: Training, plan: Plan, run: Run, machine: Machine) -> State:
    """The state at the newest checkpoint, or at step 0."""
    plan.network.to(machine.device)
    optimizer = optim.optimizer(recipe.optim, plan.network)
    micro = recipe.micro_batch
    if micro == "auto":
        tokens, width = models.tokens(plan.model, plan.res) or TOKENS, plan.network.head.in_features
        micro = choose_micro_batch(recipe.batch, tokens, width, machine.device, machine.lanes_for(plan.network))
    ema = [p.detach().clone() for p in plan.network.parameters()] if recipe.ema is not None else None
    state = State(plan.network, optimizer, ema, 0, micro)
    checkpoint = run.newest_checkpoint()
    if checkpoint is not None:
        restore(state, checkpoint)
        run.say(f"resumes from step {state.step} ({checkpoint.name})")
    return state


def restore(state: State, checkpoint: Path) -> None:
    """Put a checkpoint's content into ``state``."""
    models.fill(state.network, checkpoint / "model.safetensors")
    if state.ema is not None:
        weights = [p.detach().clone() for p in state.network.parameters()]
        models.fill(state.network, checkpoint / "ema.safetensors")
        state.ema = [p.detach().clone() for p in state.network.parameters()]
        for parameter, weight in zip(state.network.parameters(), weights):
            parameter.data.copy_(weight)
    facts = json.loads((checkpoint / "train_state.json").read_text(encoding="utf-8"))
    state.step, state.micro_batch = facts["step"], min(state.micro_batch, facts["micro_batch"])
    if (checkpoint / "train_state.safetensors").exists():  # a run's last checkpoint has none: there is no step to come
        packed: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in load_file(checkpoint / "train_state.safetensors").items():
            number, _, kind = name.partition(".")
            packed.setdefault(int(number), {})[kind] = tensor
        groups = state.optimizer.state_dict()["param_groups"]
        state.optimizer.load_state_dict({"state": packed, "param_groups": groups})


def save(state: State, plan: Plan, run: Run, final: bool = False) -> None:
    """Save a checkpoint; the final one has no optimizer state, and replaces all others."""
    moments = {} if final else state.optimizer.state_dict()["state"]
    packed = {
        f"{i}.{kind}": value for i, entry in moments.items() for kind, value in entry.items() if value is not None
    }
    weights = sum(p.numel() * p.element_size() for p in state.network.parameters())
    needed = weights * (1 + (state.ema is not None)) + sum(t.numel() * t.element_size() for t in packed.values())

    def write(folder: Path) -> None:
        models.save(folder / "model.safetensors", state.network, plan.model, plan.classes, plan.res)
        if state.ema is not None:
            with averaged(state):
                models.save(folder / "ema.safetensors", state.network, plan.model, plan.classes, plan.res)
        if packed:
            save_file(
                {name: tensor.contiguous() for name, tensor in packed.items()}, folder / "train_state.safetensors"
            )
        facts = {"step": state.step, "micro_batch": state.micro_batch}
        (folder / "train_state.json").write_text(json.dumps(facts), encoding="utf-8")

    run.save(state.step, write, needed, final, {"torch": torch.__version__, "threads": torch.get_num_threads()})


class averaged:
    """Inside, the network has its averaged weights, where there are any."""

    def __init__(self, state: State):
        self.state = state

    def __enter__(self) -> None:
        self.exchange()

    def __exit__(self, *_: Any) -> None:
        self.exchange()

    def exchange(self) -> None:
        if self.state.ema is not None:
            for parameter, mean in zip(self.state.network.parameters(), self.state.ema):
                kept = parameter.data
                parameter.data = mean.data
                mean.data = kept


def test(recipe: Training, plan: Plan, state: State, run: Run, machine: Machine) -> dict[str, Any]:
    """Top-1, top-5 and loss on every test image."""
    batches = data.ahead(data.testing(plan.test, WholeView(plan.res), recipe.batch))
    with averaged(state):
        found = answers(state.network, batches, OBJECTIVES[recipe.loss], machine, run.tick)
    return {
        "top1": found.accuracy(1),
        "top5": found.accuracy(5),
        "loss": float(found.losses.mean()),
        "test_images": len(found.labels),
    }


def say_plan(recipe: Training, plan: Plan, run: Run, machine: Machine, state: State, steps: int) -> None:
    """Tell what will be computed."""
    count = models.parameters(plan.model, plan.classes, plan.res)
    macs = models.macs(plan.model, plan.classes, plan.res)
    run.say(
        f"model: {plan.model.name} at {plan.res} px, {count / 1e6:.1f} M parameters, {macs / 1e9:.2f} GMAC an image"
    )
    images, per_epoch = steps * recipe.batch, len(plan.train)
    run.say(
        f"plan: {steps} steps of {recipe.batch} images ({images / per_epoch:.1f} epochs, "
        f"{images * macs * 6 / 1e18:.2g} exaFLOP), micro-batch {state.micro_batch}, on {machine}"
    )


def rehearse(recipe: Training, plan: Plan, run: Run, machine: Machine, state: State, steps: int) -> dict[str, Any]:
    """Two steps on made-up images: what a step costs, and so the whole run."""
    images = torch.zeros(recipe.batch, 3, plan.res, plan.res)
    batch = data.Batch(images, torch.zeros(recipe.batch, dtype=torch.long), torch.zeros(recipe.batch).numpy())
    taken = fit(state, [batch, batch], lr=lambda step: 0.0, objective=OBJECTIVES[recipe.loss], clip=recipe.clip,
                decay=recipe.ema, seed=recipe.seed, machine=machine, tick=run.tick)  # fmt: skip
    seconds = [step.took for step in taken][-1]
    # ru_maxrss is in kilobytes on Linux, in bytes on macOS
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if machine.device.type == "cuda":
        memory = torch.cuda.max_memory_allocated()
    return {"steps": steps, "seconds_a_step": seconds, "hours": seconds * steps / 3600, "memory_gb": memory / 1e9}


class Meter:
    """Shows and records how training goes, and stops it where the user asked."""

    def __init__(self, run: Run, start: int, steps: int, batch: int):
        self.run, self.steps, self.batch, self.start = run, steps, batch, start
        self.began = self.shown = time.monotonic()
        self.images = self.waited = self.took = 0.0
        self.foretold = False
        self.progress = run.screen.progress(run.verb, steps, start)

    def __enter__(self) -> "Meter":
        self.progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.__exit__(*error)

    def tick(self, images: int) -> None:
        """Count a micro-batch; end the step unfinished where the run is asked to stop."""
        self.images += images
        self.run.tick(images)
        if not self.foretold and time.monotonic() - self.began > EARLY:
            self.foretell()

    def foretell(self) -> None:
        """Say once how long the run will take, from the speed so far."""
        self.foretold = True
        left = (self.steps - self.start) * self.batch / self.speed
        if left > LONG:
            self.progress.say(
                f"this takes about {duration(left)}, at the {speed(self.speed)} images/s measured so far. "
                "Ctrl-C stops and saves; the same command goes on."
            )

    @property
    def speed(self) -> float:
        """Images a second since the start."""
        return self.images / (time.monotonic() - self.began)

    def step(self, step: Step) -> None:
        """Record a step and show it."""
        self.waited += step.waited
        self.took += step.took
        left = (self.steps - step.number) * self.batch / self.speed
        self.run.log({"step": step.number, "loss": step.loss, "norm": step.norm, "lr": step.lr, "seconds": step.took})
        share = self.waited / self.took
        note = f"loss {step.loss:.3f}  lr {step.lr:.2e}  {speed(self.speed)} images/s  waiting {share:.1%}"
        self.progress.update(step.number, f"{note}  {duration(left)} left")
        if step.number == self.steps:
            self.run.say(f"step {step.number}/{self.steps}  {note}")

    def summary(self) -> dict[str, Any]:
        """Speed and share of waiting, for the result; what an earlier attempt did is not in them."""
        seconds = time.monotonic() - self.began
        share = self.waited / self.took if self.took else 0.0
        return {
            "steps": self.steps,
            "seconds": round(seconds, 1),
            "images_per_second": self.images / seconds,
            "waiting": share,
        }
