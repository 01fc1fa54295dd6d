"""Few-shot accuracy of a network's features during training."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from vitrun import data
from vitrun.engine.freezing import set_training_mode
from vitrun.engine.inference import compute_features
from vitrun.engine.inference_batches import choose_layout
from vitrun.engine.inputs import make_eval_batches
from vitrun.engine.intervals import is_due
from vitrun.engine.progress import Meter
from vitrun.engine.state import TrainState, use_ema
from vitrun.errors import UserError
from vitrun.models import Network
from vitrun.probes import ridge
from vitrun.probes.draws import Draws, draw_images
from vitrun.recipes import Fewshot
from vitrun.runs.metrics import Metric, Result, from_plain, to_plain
from vitrun.runs.run import Run
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine

SECONDS_KEY = "fewshot_seconds"


class OnlineProbe:
    """Probe a network at step 0, at every multiple of ``every`` and at the last step; not twice if a run is resumed.

    All images that it needs are read at step 0, so that an unreadable one ends a run at its start.
    """

    def __init__(self, recipes: Mapping[str, Fewshot], every: int | str, res: int, run: Run, machine: Machine):
        self.recipes, self.every, self.res, self.run, self.machine = recipes, every, res, run, machine
        self.steps = 0
        self.splits: dict[str, tuple[data.Split, data.Split]] = {}  # drawn and test images by the name of the data
        self.draws: dict[str, Draws] = {}
        self.done: dict[int, dict[str, Any]] = {}  # the line of metrics.jsonl of each probe, by its step

    def open(self, steps: int) -> None:
        """Open the data sets before a run of ``steps`` steps starts; read which probes are done."""
        self.steps = steps
        with distributed.rank_zero_first():
            self.splits = {name: self.open_parts(name, recipe) for name, recipe in self.recipes.items()}
        lines = self.run.read_metrics(SECONDS_KEY, float)
        self.done = {line["step"]: line for line in lines if isinstance(line.get("step"), int)}

    def open_parts(self, name: str, recipe: Fewshot) -> tuple[data.Split, data.Split]:
        """Draw from a data set; return the drawn training images and the test part.

        Raise UserError if images have several labels.
        """
        train, test = (
            data.open_split(recipe.data, part, self.run.screen, self.run.raise_if_interrupted)
            for part in ("train", "test")
        )
        if train.labels.ndim > 1 or test.labels.ndim > 1:
            why = "has images with several labels; the probe needs one label per image."
            raise UserError(why, option="fewshot.data", value=recipe.data.name)
        pool = data.find_draw_pool(recipe.data, train)
        draws = draw_images(train.labels, pool.order, recipe.shots, recipe.seeds, recipe.l2)
        sizes = f"{len(draws.rows)} of {len(train)} training and {len(test)} test images"
        self.run.log(f"few-shot probe: {recipe.data.name}, {sizes}; {pool.note}")
        self.draws[name] = draws
        return train.select(draws.rows), test

    def probe_if_due(self, state: TrainState, meter: Meter, last: bool = False) -> None:
        """Probe the network, or its EMA, if that is due and not done; training continues as without it."""
        step = state.step
        if step in self.done or not (last or is_due(step, self.every, self.steps)):
            return
        start = time.monotonic()
        metrics: Result = {}
        with use_ema(state) as network:
            for name, recipe in self.recipes.items():
                train, test = (self.compute_features(network, recipe, split) for split in self.splits[name])
                draws = ridge.evaluate_few_shot(self.draws[name], train, test, recipe.l2)
                prefix = f"fewshot_{name.replace('/', '_')}"
                for shots, accuracy in ridge.summarize_draws(draws).items():
                    text = ridge.format_accuracy(accuracy)
                    meter.log(f"step {step}/{self.steps}  {name} {shots}-shot {text} %")
                    metrics[f"{prefix}_{shots}"] = accuracy
                if len(recipe.l2) > 1:
                    metrics[f"{prefix}_l2"] = ridge.list_chosen_l2(draws)
        set_training_mode(state.network)
        seconds = time.monotonic() - start
        meter.pause(seconds)
        self.done[step] = {"step": step, **to_plain(metrics), SECONDS_KEY: round(seconds, 2)}
        self.run.log_metrics(self.done[step])

    def compute_features(self, network: Network, recipe: Fewshot, split: data.Split) -> ridge.Features:
        """Return the network's features of a split, whose images look as in ``vitrun fewshot``."""
        layout = choose_layout(network, self.res, recipe.batch, self.machine)
        batches = make_eval_batches(split, self.res, recipe.view, layout.batch, self.machine)
        x = compute_features(network, batches, self.machine, self.run.raise_if_interrupted, layout.images)
        labels = split.targets(np.arange(len(split)))
        return ridge.Features(torch.from_numpy(x), labels, len(split.classes))

    def summary(self, state: TrainState) -> Result:
        """Return the metrics of the last probe, and the seconds of all, which the run's own speed leaves out."""
        last = from_plain(self.done[state.step])
        seconds = sum(line[SECONDS_KEY] for line in self.done.values())
        metrics = {name: value for name, value in last.items() if name not in ("attempt", "step")}
        return metrics | {SECONDS_KEY: Metric(round(seconds, 1), "seconds")}
