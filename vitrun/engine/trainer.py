"""Train one network: from its recipe, data and objective to the result of its run."""

import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from vitrun import data, models
from vitrun.engine import optim
from vitrun.engine.diagnosis import find_non_finite_weight
from vitrun.engine.freezing import set_training_mode
from vitrun.engine.inputs import make_eval_batches, make_train_view
from vitrun.engine.interfaces import Objective, Probe
from vitrun.engine.loop import FitOptions, Step, fit
from vitrun.engine.micro_batches import MicroBatchMonitor
from vitrun.engine.non_finite import NonFinitePolicy
from vitrun.engine.progress import Meter
from vitrun.engine.spikes import SpikeMonitor
from vitrun.engine.state import TrainState, checkpoint_size, count_bytes, restore_checkpoint, save_checkpoint, use_ema
from vitrun.engine.step_memory import fit_micro_batch, measure_step
from vitrun.errors import ExitCode, Interrupted, OutOfMemory, UserError
from vitrun.recipes import Dataset, Training
from vitrun.recipes.macs import count_exaflop
from vitrun.runs.manifest import load_manifest
from vitrun.runs.predictions import PREDICTIONS_FILE
from vitrun.runs.run import Run
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine, choose_micro_batch, explain_single_image
from vitrun.runtime.memory import available_memory
from vitrun.runtime.stop import defer_stop

RESNET_TOKENS = 197  # assumed for a network without tokens: the positions of a ResNet's middle stage at 224 pixels


@dataclass
class Trainer:
    """One training run: what is trained, on what, for what, and where its results go.

    The same recipe and data give the same weights to the last bit, however often the run is stopped and resumed.
    """

    recipe: Training
    loaded: models.LoadedModel  # the network, the row that describes it, its resolution and class names
    objective: Objective
    train_data: data.Split
    test_data: data.Split
    run: Run
    machine: Machine
    probes: tuple[Probe, ...] = ()
    steps: int = field(init=False)
    warmup: int = field(init=False)
    state: TrainState = field(init=False)
    policy: NonFinitePolicy = field(init=False)
    moments: int = field(init=False)  # bytes of the optimizer's state after its first step

    def __post_init__(self) -> None:
        self.steps, self.warmup = self.recipe.count_steps(len(self.train_data))
        self.state = build_state(self.recipe, self.loaded, self.machine)
        self.policy = NonFinitePolicy(self.run, self.state, self.recipe.max_skipped, self.recipe.clip is not None)
        trained = count_bytes(optim.list_trained(self.loaded.network))
        self.moments = optim.count_moments(self.recipe.optim) * trained
        self.run.check_disk_space(checkpoint_size(self.state, self.moments))

    def train(self) -> dict[str, Any]:
        """Train from the newest checkpoint, or from step 0, to the last step, then test; return the metrics of both.

        On Interrupted, and if the memory does not suffice for a step, save a checkpoint and raise the error again.
        """
        bad_images = self.build_bad_image_budget()
        self.check_images(bad_images)
        self.resume()
        self.log_plan()
        for probe in self.probes:
            probe.open(self.steps)
        meter = Meter(self.run, self.state.step, self.steps, self.recipe.batch)
        steps = fit(self.state, self.make_batches(bad_images), self.fit_options(meter.tick))
        monitor, saved = MicroBatchMonitor(self.run.warn, self.state.micro_batch), time.monotonic()
        spikes, step = SpikeMonitor(self.run, self.state), None
        try:
            with defer_stop(), meter:
                self.probe_if_due(meter)
                for step in steps:
                    meter.record_step(step)
                    monitor.record_step(step, self.state.micro_batch)
                    spikes.record_step(step)
                    self.run.settle_save(wait=False)
                    save_due = self.share_step(bad_images, saved)
                    self.probe_if_due(meter)
                    if save_due and step.number < self.steps:
                        self.save(step)
                        saved = time.monotonic()
        except (Interrupted, OutOfMemory):
            self.save_at_exit()
            raise
        speed = meter.summary()  # before the test, whose time is not that of training
        self.save(step, final=True)
        skipped = {"skipped_steps": len(self.state.skipped)} if self.state.skipped else {}
        metrics = {**self.test(), **speed, **bad_images.summary(), **skipped}
        for probe in self.probes:
            metrics |= probe.summary()
        return metrics

    def save(self, last: Step | None, final: bool = False) -> None:
        """Save a checkpoint after the ``last`` step, None if this attempt had no step left to do.

        Raise UserError (exit code 5) if a weight is not finite.
        """
        if last is not None:
            self.policy.check_weights(last)
        save_checkpoint(self.state, self.loaded, self.run, final, background=not final)

    def save_at_exit(self) -> None:
        """Save a checkpoint, unless a weight is not finite; without other ranks, which may be at another place."""
        if (weight := find_non_finite_weight(self.state)) is not None:
            self.run.warn(f"Step {self.state.step} is not saved: {weight} is not finite")
        elif save_checkpoint(self.state, self.loaded, self.run):
            self.run.log(f"Saved step {self.state.step} of {self.steps}")

    def check_images(self, bad_images: data.BadImageBudget) -> None:
        """Raise UserError (exit code 3) at the first start of a run if images cannot be read, and not after hours."""
        if distributed.rank() or self.run.can_resume:
            return
        check_test_images(self.test_data)
        if done := data.check_before_training(self.train_data, bad_images):
            self.run.log(done)

    def resume(self) -> None:
        """Load the newest checkpoint of the run, if it has one; record the device, precision, ranks and threads."""
        checkpoint = self.run.newest_checkpoint()
        if checkpoint is not None:
            restore_checkpoint(self.state, checkpoint)
            if self.recipe.micro_batch != "auto":
                self.state.micro_batch = self.recipe.micro_batch
        self.check_memory()
        self.run.computing = {
            "device": self.machine.device.type,
            "precision": "bf16" if self.machine.dtype == torch.bfloat16 else "fp32",
            "ranks": distributed.world_size(),
            "threads": self.machine.cores,
            "micro_batch": self.state.micro_batch,
        }
        if checkpoint is not None:
            before = load_manifest(checkpoint)
            changes = [
                f"{key} {now}, not {str(before.get(key))[:50]}"
                for key, now in self.run.computing.items()
                if before.get(key) != now
            ]
            warning = f" with {'; '.join(changes)}: the bits may differ from here on" if changes else ""
            self.run.log(f"Resuming from step {self.state.step} ({checkpoint.name}){warning}")
        self.run.update_about(computing=self.run.computing, steps=self.steps)

    def check_memory(self) -> None:
        """Lower ``micro_batch=auto`` on a CPU so that a step fits into memory; raise UserError if it cannot fit."""
        if self.machine.device.type != "cpu":
            return
        hosts = distributed.all_gather_object(platform.node())
        memories = distributed.all_gather_object(available_memory(hosts.count(platform.node())))
        if None in memories:  # not known on this system
            return
        free, share = min(filter(None, memories)), self.recipe.batch // len(hosts)
        options = self.fit_options(self.run.raise_if_interrupted)
        moments = 0 if self.state.optimizer.state else self.moments
        memory = measure_step(self.state, self.make_blank_batch(2), share, options, moments, free.size)
        fit_micro_batch(self.state, memory, free, self.recipe.micro_batch == "auto", self.run.warn)

    def log_plan(self) -> None:
        """Log the size of the network and of the run."""
        row, res, batch = self.loaded.model, self.loaded.res, self.recipe.batch
        parameters = sum(parameter.numel() for parameter in self.loaded.network.parameters())
        trained = sum(parameter.numel() for parameter in optim.list_trained(self.loaded.network))
        part = f" ({trained / 1e6:.3g} M of them trained)" if trained < parameters else ""
        macs = models.count_macs(row, self.loaded.classes, res)
        self.run.log(
            f"model: {row.name} at {res} px, {parameters / 1e6:.1f} M parameters{part}, {macs / 1e9:.3g} GMAC an image"
        )
        images = self.steps * batch
        self.run.log(
            f"plan: {self.steps} steps of {batch} images ({images / len(self.train_data):.1f} epochs, "
            f"{count_exaflop(macs, images):.2g} exaFLOP), micro-batch {self.state.micro_batch}, on {self.machine}"
        )
        share = batch // distributed.world_size()
        if (
            self.state.micro_batch == 1 < share
            and self.recipe.micro_batch == "auto"
            and self.machine.device.type == "cpu"
        ):
            workers = self.machine.workers_for(self.loaded.network)
            self.run.warn(f"one image at a time: {explain_single_image(share, count_tokens(self.loaded), workers)}")

    def make_batches(self, bad_images: data.BadImageBudget) -> Iterator[data.Batch]:
        """Yield the batch of each step that is left."""
        recipe = self.recipe
        source = cast(Dataset, recipe.data)  # a suite is fine-tuned task by task
        view = make_train_view(source, recipe.augment, recipe.view, self.loaded.res, recipe.seed)
        steps = range(self.state.step, self.steps)
        batches = data.train_batches(self.train_data, view, recipe.batch, recipe.seed, steps, bad_images)
        return self.prepare_batches(batches)

    def prepare_batches(self, batches: Iterable[data.Batch]) -> Iterator[data.Batch]:
        """Yield ``batches`` as the objective trains on them, computed ahead in a thread."""
        start, prepare = self.state.step, self.objective.prepare
        prepared = (prepare(batch, step) for step, batch in enumerate(batches, start))
        return data.prefetch(prepared, self.machine.loader_threads)

    def fit_options(self, tick: Callable[[int], None]) -> FitOptions:
        """Return how the recipe computes a step; ``tick`` is called after each micro-batch."""
        recipe = self.recipe
        lr = optim.build_schedule(
            recipe.schedule, recipe.optim.lr, self.steps, self.warmup, recipe.schedule_end, recipe.drops
        )
        loss = self.objective.loss
        halve = recipe.micro_batch == "auto"
        return FitOptions(
            loss, recipe.batch, lr, recipe.clip, recipe.ema, recipe.seed, self.machine, tick, self.policy, halve
        )

    def build_bad_image_budget(self) -> data.BadImageBudget:
        """Return the count of bad training images, which begins with those of earlier attempts."""

        def report(key: str, sentence: str) -> None:
            self.run.log_metrics({"bad_image": key})
            self.run.warn(f"Unreadable, to be replaced in training: {sentence}")

        known = [line["bad_image"] for line in self.run.read_metrics("bad_image", str)]
        return data.BadImageBudget(self.train_data, self.recipe.bad_images, report, known)

    def probe_if_due(self, meter: Meter) -> None:
        """Run each probe that is due at this step."""
        for probe in self.probes:
            probe.probe_if_due(self.state, meter)

    def share_step(self, bad_images: data.BadImageBudget, saved: float) -> bool:
        """Count the bad images that other ranks found; return whether a save is due ``save_minutes`` after ``saved``.

        One collective serves both. The clock is that of rank 0.
        """
        seconds = time.monotonic() - saved
        due = seconds >= self.recipe.save_minutes * 60
        ranks = distributed.all_gather_object((due, bad_images.pop_new()))
        bad_images.count_all(chain.from_iterable(new for _, new in ranks))
        return ranks[0][0]

    def test(self) -> dict[str, Any]:
        """Return the objective's metrics of the test images, with the averaged weights if there are any.

        Write ``preds.parquet`` if the objective predicts labels.
        """
        batches = make_eval_batches(self.test_data, self.loaded.res, self.recipe.view, self.recipe.batch, self.machine)
        tick = self.run.raise_if_interrupted
        with use_ema(self.state):
            metrics = dict(self.objective.evaluate(self.state.network, batches, self.machine, tick))
        if predictions := metrics.pop("predictions", None):
            self.run.write_file(PREDICTIONS_FILE, predictions.to_table(self.test_data, self.loaded.names).write)
        return metrics

    def rehearse(self) -> dict[str, Any]:
        """Return what the run costs: its ``steps``, ``seconds_a_step``, ``hours`` and ``memory_gb``.

        Two steps of a few blank images are measured, one micro-batch a worker. That is an upper bound: the update of
        the weights, which a step has once, is counted as often as these images fit into a batch.
        """
        self.check_images(self.build_bad_image_budget())
        self.check_memory()
        self.log_plan()
        ranks = distributed.world_size()
        share = self.recipe.batch // ranks
        few = min(share, self.state.micro_batch * self.machine.workers_for(self.loaded.network))
        blank = self.make_blank_batch(few)
        options = replace(self.fit_options(self.run.raise_if_interrupted), images=few * ranks, lr=lambda step: 0.0)
        *_, last = fit(self.state, [blank, blank], options)
        seconds = last.step_seconds * share / few
        hours = seconds * self.steps / 3600
        memory = peak_memory(self.machine.device) / 1e9
        return {"steps": self.steps, "seconds_a_step": seconds, "hours": hours, "memory_gb": memory}

    def make_blank_batch(self, size: int) -> data.Batch:
        """Return a batch of blank images, as the objective trains on it."""
        images = torch.zeros(size, 3, self.loaded.res, self.loaded.res)
        return self.objective.prepare(data.Batch(images, torch.zeros(size, dtype=torch.long), np.arange(size)), 0)


def build_state(recipe: Training, loaded: models.LoadedModel, machine: Machine) -> TrainState:
    """Return the state at step 0, with the network on the device of ``machine``."""
    network = loaded.network.to(machine.device)
    ranks = distributed.world_size()
    set_training_mode(network)
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if ranks > 1 and any(norm.training for norm in norms):
        raise UserError(
            f"{loaded.model.name} has batch norm, whose statistics would differ between ranks: use one rank."
        )
    micro_batch = recipe.micro_batch
    if micro_batch == "auto":
        tokens, width, workers = count_tokens(loaded), network.head.in_features, machine.workers_for(network)
        micro_batch = choose_micro_batch(recipe.batch // ranks, tokens, width, machine.device, workers)
    optimizer = optim.build_optimizer(recipe.optim, network)
    ema = [p.detach().clone() for p in network.parameters()] if recipe.ema is not None else None
    return TrainState(network, optimizer, ema, 0, micro_batch)


def count_tokens(loaded: models.LoadedModel) -> int:
    """Return the tokens of an image, by which the micro-batch is chosen."""
    return models.count_tokens(loaded.model, loaded.res) or RESNET_TOKENS


def check_test_images(test: data.Split) -> None:
    """Raise UserError (exit code 3) if a test image cannot be read."""
    if bad := data.find_bad_images(test):
        first = next(iter(bad.values()))
        raise UserError(f"{len(bad)} of {len(test)} test images cannot be read: {first}", ExitCode.DATA)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes used so far: of the GPU, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    # ru_maxrss is in kilobytes on Linux, in bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
