"""Evaluation of a network during training: its curve, its best weights, and when training ends early."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from vitrun.data import Split
from vitrun.engine.evaluation_record import Evaluation
from vitrun.engine.freezing import set_training_mode
from vitrun.engine.inputs import make_eval_batches
from vitrun.engine.interfaces import Objective
from vitrun.engine.intervals import is_due
from vitrun.engine.progress import Meter
from vitrun.engine.state import TrainState, copy_weights, use_ema
from vitrun.recipes import Training
from vitrun.runs.metrics import Metric, Result
from vitrun.runs.run import Run
from vitrun.runtime import distributed, heartbeat
from vitrun.runtime.device import Machine

PREFIX = "eval_"  # of the names of metrics that were measured during training


@dataclass
class OnlineEvaluation:
    """Evaluate a network, or its EMA, at every multiple of ``eval.every`` and after the last step.

    What is trained does not change. The record of evaluations is part of the state of training: a run that resumes from
    before an evaluation repeats it. All ranks evaluate and decide alike.
    """

    recipe: Training
    objective: Objective
    images: Split
    res: int
    run: Run
    machine: Machine
    steps: int = 0  # of the run, if it does not end early
    seconds: float = field(default=0.0, init=False)  # of all evaluations of this attempt

    def open(self, steps: int) -> None:
        """Note the length of a run, and log which images it evaluates on."""
        self.steps = steps
        every, images = self.recipe.eval.every, f"{len(self.images):,}"
        if every is None:
            return
        interval = f"after {every} of the steps" if isinstance(every, str) else f"every {every:,} steps"
        if self.recipe.holds_out:
            self.run.log(f"evaluation: {interval}, on {images} images held out of training")
            return
        chooses = self.recipe.keep == "best" or self.recipe.eval.patience
        bias = "; a choice by test images makes the test result biased" if chooses else ""
        self.run.log(f"evaluation: {interval}, on the {images} test images, as none are held out of training{bias}")

    def probe_if_due(self, state: TrainState, meter: Meter, last: bool = False) -> None:
        """Evaluate if that is due at this step and not done, or it is the ``last`` one."""
        step, every, done = state.step, self.recipe.eval.every, state.evaluations.last
        if done is not None:
            meter.evaluation = str(done)
        if every is None or done is not None and done.step >= step:
            return
        if last or step and is_due(step, every, self.steps):
            self.evaluate(state, meter)

    def evaluate(self, state: TrainState, meter: Meter) -> None:
        """Evaluate, add the metrics to the record and to ``metrics.jsonl``, and copy the best weights."""
        start, step = time.monotonic(), state.step
        batches = make_eval_batches(self.images, self.res, self.recipe.view, self.recipe.batch, self.machine)
        with heartbeat.long_work("evaluation"), use_ema(state) as network:
            tick = self.count_images(meter)
            result = self.objective.evaluate(network, batches, self.machine, tick)
            evaluation = Evaluation.of_result(step, result)
            state.evaluations = state.evaluations.add(evaluation)
            is_best = state.evaluations.best is evaluation
            if is_best and self.recipe.keep == "best":
                state.best = copy_weights(network)
        set_training_mode(state.network)
        seconds = time.monotonic() - start
        self.seconds += seconds
        meter.pause(seconds)
        meter.evaluation = str(evaluation)
        meter.log(f"step {step}/{self.steps}  evaluation: {evaluation}{', the best so far' if is_best else ''}")
        if self.is_over(state) and step < self.steps:
            meter.log(f"Stopping at step {step} of {self.steps}: {state.evaluations.describe_standstill()}")
        metrics = {f"{PREFIX}{name}": metric.mean for name, metric in evaluation.result.items()}
        self.run.log_metrics({"step": step, **metrics, f"{PREFIX}seconds": round(seconds, 2)})

    def count_images(self, meter: Meter) -> Callable[[int], None]:
        """Return a function that shows how many images are evaluated, and raises Interrupted if the run is to stop."""
        done, total = 0, len(self.images)

        def count(images: int) -> None:
            nonlocal done
            done = min(done + images * distributed.world_size(), total)  # all ranks are as fast
            meter.update_bar(f"evaluating: {done:,} of {total:,} images")
            self.run.raise_if_interrupted()

        return count

    def is_over(self, state: TrainState) -> bool:
        """Return whether as many evaluations as ``eval.patience`` were not better than the best one."""
        patience = self.recipe.eval.patience
        return patience is not None and state.evaluations.without_gain >= patience

    def summary(self, state: TrainState) -> Result:
        """Return the metrics of the weights that the result is of, and which evaluation was the best."""
        record = state.evaluations
        chosen = record.best if self.recipe.keep == "best" else record.last
        if chosen is None or record.best is None:
            return {}
        name, best = record.best.leading
        return {
            **{f"{PREFIX}{key}": metric for key, metric in chosen.result.items()},
            f"{PREFIX}best_{name}": best,
            f"{PREFIX}best_step": record.best.step,
            f"{PREFIX}seconds": Metric(round(self.seconds, 1), "seconds"),
            **({"stopped_early_at": state.step} if state.step < self.steps else {}),
        }
