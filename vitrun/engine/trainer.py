"""Trainer: train one network on its data for its objective, and return the result of the run."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import chain, takewhile
from typing import Any

from vitrun import data, models
from vitrun.data.transforms.views import CropView
from vitrun.engine import optim
from vitrun.engine.activations import make_blank_batch
from vitrun.engine.ahead import can_run_ahead, fit_ahead
from vitrun.engine.compiling import compile_network
from vitrun.engine.computing import describe_changes, describe_computing
from vitrun.engine.detection_files import write_detections
from vitrun.engine.diagnosis import find_non_finite_weight
from vitrun.engine.image_checks import build_bad_image_budget, check_images
from vitrun.engine.initial_state import build_state
from vitrun.engine.inputs import make_eval_batches, make_train_batches, make_train_view, prefetch_batches
from vitrun.engine.interfaces import Objective, Probe
from vitrun.engine.joint_loss import is_joint, pass_outputs
from vitrun.engine.layout import Layout
from vitrun.engine.loop import FitOptions, Step, fit
from vitrun.engine.micro_batches import MicroBatchMonitor
from vitrun.engine.non_finite import NonFinitePolicy
from vitrun.engine.online_evaluation import OnlineEvaluation
from vitrun.engine.plan import Plan
from vitrun.engine.progress import Meter
from vitrun.engine.saved_state import checkpoint_size, restore_checkpoint, save_checkpoint
from vitrun.engine.schedule import build_schedule
from vitrun.engine.sharing import describe_mode
from vitrun.engine.spikes import SpikeMonitor
from vitrun.engine.state import TrainState, use_best
from vitrun.engine.step_layout import StepLayouts, get_layout, restore_layout
from vitrun.errors import Interrupted, OutOfMemory, UserError
from vitrun.recipes import Dataset, Training
from vitrun.runs.cost import MACS_KEY
from vitrun.runs.manifest import load_manifest
from vitrun.runs.predictions import PREDICTIONS_FILE
from vitrun.runs.run import Run
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine
from vitrun.runtime.stop import defer_stop


@dataclass
class Trainer:
    """One training run: the network, its data, its objective, and the run folder that its results go to.

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
    held_out: data.Split | None = None  # training images that are held out, for evaluations during training
    pseudo: data.PseudoLabels | None = None  # unlabelled images with the predictions of a teacher
    steps: int = field(init=False)
    warmup: int = field(init=False)
    state: TrainState = field(init=False)
    policy: NonFinitePolicy = field(init=False)
    evaluation: OnlineEvaluation = field(init=False)
    moments: int = field(init=False)  # bytes of the optimizer's state after its first step

    def __post_init__(self) -> None:
        self.steps, self.warmup = self.recipe.count_steps(len(self.train_data))
        if is_joint(self.objective) and self.recipe.mode == "fsdp" and distributed.world_size() > 1:
            why = "cannot train this objective, whose loss needs the images of all ranks at once: use mode=ddp."
            raise UserError(why, option="mode", value="fsdp")
        self.state = build_state(self.recipe, self.loaded, self.machine)
        images = self.steps * self.recipe.step_images
        self.state.compiled = compile_network(self.recipe, self.loaded, self.state.parallel, self.machine, images)
        self.policy = NonFinitePolicy(self.run, self.state, self.recipe.max_skipped, self.recipe.clip is not None)
        self.moments = optim.count_moments(self.recipe.optim, self.loaded.network)
        self.run.check_places()
        self.run.check_disk_space(checkpoint_size(self.state, self.moments, self.recipe.keep == "best"))
        evaluated, res = self.held_out or self.test_data, self.loaded.res
        self.evaluation = OnlineEvaluation(self.recipe, self.objective, evaluated, res, self.run, self.machine)
        self.probes = (*self.probes, self.evaluation)

    def train(self) -> dict[str, Any]:
        """Train from the newest checkpoint, or from step 0, to the last step, then test; return the metrics of both.

        If training is interrupted or a step runs out of memory, save a checkpoint and raise the error again.
        """
        bad_images = build_bad_image_budget(self.train_data, self.recipe.bad_images, self.run)
        self.check_images(bad_images)
        self.resume()
        self.log_plan()
        for probe in self.probes:
            probe.open(self.steps)
        meter = Meter(self.run, self.state.step, self.steps, self.recipe.step_images)
        try:
            with self.together(), defer_stop(), meter:
                last = self.take_steps(meter, bad_images)
        except (Interrupted, OutOfMemory) as error:
            if not self.state.is_divided or isinstance(error, Interrupted):  # else only this rank would save
                self.save_at_exit()
            raise
        speed = meter.summary()  # before the test, whose time does not count as training
        self.save(last, final=True)
        skipped = {"skipped_steps": len(self.state.skipped)} if self.state.skipped else {}
        metrics = {**self.test(), **speed, **bad_images.summary(), **skipped}
        for probe in self.probes:
            metrics |= probe.summary(self.state)
        return metrics

    def take_steps(self, meter: Meter, bad_images: data.BadImageBudget) -> Step | None:
        """Take the remaining steps, with probes and checkpoints in between; return the last one, if there is any.

        An evaluation may end training early (``eval.patience``).
        """
        batches = takewhile(lambda _: not self.evaluation.is_over(self.state), self.make_batches(bad_images))
        monitor, spikes = MicroBatchMonitor(self.run.warn, self.state.micro_batch), SpikeMonitor(self.run, self.state)
        step, saved = None, time.monotonic()
        self.probe_if_due(meter)
        for step in self.fit(batches, self.fit_options(meter.tick)):
            meter.record_step(step)
            monitor.record_step(step)
            spikes.record_step(step)
            self.run.settle_save(wait=False)
            save_due = self.share_step(bad_images, saved)
            self.probe_if_due(meter)
            if self.evaluation.is_over(self.state):
                break
            if save_due and step.number < self.steps:
                self.save(step)
                saved = time.monotonic()
        self.probe_if_due(meter, last=True)
        return step

    def fit(self, batches: Iterable[data.Batch], options: FitOptions) -> Iterator[Step]:
        """Train on ``batches`` and yield a report of every step, with :func:`~.ahead.fit_ahead` if that is possible."""
        steps = fit_ahead if can_run_ahead(self.state, self.machine) else fit
        return steps(self.state, batches, options)

    def together(self) -> AbstractContextManager[None]:
        """Return a context that an error of one rank ends on all ranks at the same step, if they save together."""
        return distributed.propagate_errors() if self.state.is_divided else nullcontext()

    def save(self, last: Step | None, final: bool = False) -> None:
        """Save a checkpoint after the ``last`` step, which is None if this attempt had no step left to take.

        Raise UserError (exit code 5) if a weight is not finite.
        """
        if last is not None:
            self.policy.check_weights(last)
        save_checkpoint(self.state, self.loaded, self.run, final, background=not final)

    def save_at_exit(self) -> None:
        """Save a checkpoint unless a weight is not finite; together with the other ranks if the network is divided."""
        if (weight := find_non_finite_weight(self.state)) is not None:
            self.run.warn(f"Step {self.state.step} is not saved: {weight} is not finite")
        elif save_checkpoint(self.state, self.loaded, self.run):
            self.run.log(f"Saved step {self.state.step} of {self.steps}")

    def check_images(self, bad_images: data.BadImageBudget) -> None:
        """Raise UserError (exit code 3) if images cannot be read: when a run first starts, not after hours."""
        if not distributed.rank() and not self.run.can_resume:
            tested = [self.test_data, *[self.evaluation.images] * (self.recipe.eval.every is not None)]
            check_images(self.train_data, tested, bad_images, self.run)

    def resume(self) -> None:
        """Load the newest checkpoint of the run, if there is one; record the device, precision, ranks and layout."""
        checkpoint = self.run.newest_checkpoint()
        manifest = {} if checkpoint is None else load_manifest(checkpoint)
        if checkpoint is not None:
            restore_checkpoint(self.state, checkpoint)
            restore_layout(self.state, manifest, self.describe_computing())
            if self.recipe.micro_batch != "auto":
                self.state.micro_batch = self.recipe.micro_batch
        self.fit_layout(choose=checkpoint is None)
        self.run.computing = self.describe_computing()
        if checkpoint is not None:
            changes = describe_changes(manifest, self.run.computing)
            self.run.log(f"Resuming from step {self.state.step} ({checkpoint.name}){changes}")
        self.run.update_about(computing=self.run.computing, steps=self.steps)

    @property
    def layout(self) -> Layout:
        """Return how a step is computed."""
        return get_layout(self.state, self.machine)

    def describe_computing(self) -> dict[str, Any]:
        """Return how steps are computed, as a checkpoint records it."""
        is_compiled = self.state.compiled is not None
        mode = describe_mode(self.state.parallel)
        return describe_computing(self.machine, self.layout, mode, is_compiled, self.state.network)

    def fit_layout(self, choose: bool, measure: bool = True) -> None:
        """On a CPU, ``choose`` the layout if ``micro_batch=auto``, and lower the micro-batch to what fits into memory.

        With ``measure=False`` only choose a layout that was measured before. Raise UserError if a step cannot fit.
        """
        if self.machine.device.type != "cpu" or self.state.is_divided:
            return
        moments = 0 if self.state.optimizer.state else self.moments
        options = self.fit_options(self.run.raise_if_interrupted)
        layouts = StepLayouts(self.recipe, self.loaded, self.state, options, self.make_blank_batch, moments, self.run)
        compiled = self.state.compiled is not None  # each layout would be compiled anew
        if choose and self.recipe.micro_batch == "auto" and not compiled:
            layouts.choose(self.steps * self.recipe.step_images, measure)
        layouts.check_memory()

    def log_plan(self) -> None:
        """Log the size of the network and of the run, and record the multiply-adds per image."""
        plan = Plan(self.recipe, self.loaded, self.state, self.machine, self.steps, len(self.train_data))
        for line in plan.describe():
            self.run.log(line)
        for warning in plan.list_warnings():
            self.run.warn(warning)
        self.run.update_about(**{MACS_KEY: plan.image_macs})

    def make_batches(self, bad_images: data.BadImageBudget) -> Iterator[data.Batch]:
        """Yield the batch of each remaining step."""
        steps, pseudo = range(self.state.step, self.steps), self.pseudo
        batches = make_train_batches(self.recipe, self.train_data, pseudo, self.make_view, steps, bad_images)
        return self.prepare_batches(batches)

    def make_view(self, source: Dataset, seed: int) -> CropView:
        """Return the random views of the training images of a data set."""
        recipe, levels = self.recipe, self.machine.takes_levels
        return make_train_view(source, recipe.augment, recipe.view, self.loaded.res, seed, levels)

    def prepare_batches(self, batches: Iterable[data.Batch]) -> Iterator[data.Batch]:
        """Yield ``batches``, prepared by the objective in a thread ahead of the training."""
        start, prepare = self.state.step, self.objective.prepare
        prepared = (prepare(batch, step) for step, batch in enumerate(batches, start))
        return prefetch_batches(prepared, self.machine)

    def fit_options(self, tick: Callable[[int], None]) -> FitOptions:
        """Return how the recipe computes a step; ``tick`` is called after each micro-batch."""
        recipe = self.recipe
        return FitOptions(
            loss=self.objective.loss,
            images=recipe.step_images,
            lr=build_schedule(recipe, self.steps, self.warmup),
            clip=recipe.clip,
            ema_decay=recipe.ema,
            seed=recipe.seed,
            machine=self.machine,
            tick=tick,
            on_non_finite=self.policy,
            halve=recipe.micro_batch == "auto" and not self.state.is_divided,
            first_pass=pass_outputs if is_joint(self.objective) else None,
        )

    def probe_if_due(self, meter: Meter, last: bool = False) -> None:
        """Run each probe that is due at this step, or all if it is the ``last``."""
        for probe in self.probes:
            probe.probe_if_due(self.state, meter, last)

    def share_step(self, bad_images: data.BadImageBudget, saved: float) -> bool:
        """Count the bad images of other ranks; return whether a save is due, ``save_minutes`` after ``saved``.

        Both take a single collective. The clock of rank 0 decides.
        """
        seconds = time.monotonic() - saved
        due = seconds >= self.recipe.save_minutes * 60
        ranks = distributed.all_gather_object((due, bad_images.pop_new()))
        bad_images.count_all(chain.from_iterable(new for _, new in ranks))
        return ranks[0][0]

    def test(self) -> dict[str, Any]:
        """Return the objective's metrics on the test images, with the best weights if they are kept, else the EMA.

        Write ``preds.parquet`` if the objective predicts labels, ``detections.json`` and others if it finds objects.
        """
        batches = make_eval_batches(self.test_data, self.loaded.res, self.recipe.view, self.recipe.batch, self.machine)
        tick = self.run.raise_if_interrupted
        with use_best(self.state) as network:
            metrics = dict(self.objective.evaluate(network, batches, self.machine, tick))
        if predictions := metrics.pop("predictions", None):
            self.run.write_file(PREDICTIONS_FILE, predictions.to_table(self.test_data, self.loaded.names).write)
        if detections := metrics.pop("detections", None):
            write_detections(self.run, self.test_data, detections, self.loaded.names)
        return metrics

    def make_blank_batch(self, size: int) -> data.Batch:
        """Return a batch of blank images, prepared by the objective."""
        return make_blank_batch(self.objective, self.loaded.res, size)
