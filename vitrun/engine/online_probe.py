"""How good the features of a network in training are: few-shot accuracy on the way."""

import time
from collections.abc import Mapping
from typing import Any

import torch

from vitrun import data
from vitrun.engine import ridge
from vitrun.engine.inference import compute_features
from vitrun.engine.inputs import make_eval_batches
from vitrun.engine.progress import Meter
from vitrun.engine.state import TrainState, use_ema
from vitrun.errors import UserError
from vitrun.recipes import Fewshot
from vitrun.runs.run import Run
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine

SECONDS_KEY = "fewshot_seconds"


class OnlineProbe:
    """Probes a network at step 0, at every multiple and at the end, each once whatever happens between.

    The images are opened at once, and all of them read at step 0: what is wrong with them ends a run at its start.
    """

    def __init__(self, recipes: Mapping[str, Fewshot], every: int | str | None, steps: int, run: Run, machine: Machine):
        self.recipes, self.every, self.steps, self.run, self.machine = recipes, every, steps, run, machine
        with distributed.rank_zero_first():
            self.sets = {name: self.open_parts(recipe) for name, recipe in recipes.items()}
        self.done = {line["step"]: line for line in run.read_metrics(SECONDS_KEY)}

    def open_parts(self, recipe: Fewshot) -> tuple[data.Split, data.Split]:
        """The training and the test part of a data set; a UserError where an image has several labels."""
        train, test = (
            data.open_split(recipe.data, part, self.run.screen, self.run.raise_if_interrupted)
            for part in ("train", "test")
        )
        if train.labels.ndim > 1 or test.labels.ndim > 1:
            raise UserError(
                f"fewshot.data={recipe.data.name} has images of several labels; the probe knows one an image."
            )
        self.run.log(f"few-shot on the way: {recipe.data.name}, {len(train)} training and {len(test)} test images")
        return train, test

    def probe_if_due(self, state: TrainState, res: int, meter: Meter) -> None:
        """Probe the network, or its Polyak average, where that is due and not done; training goes on as if not."""
        step = state.step
        if not self.sets or step in self.done or not is_probe_due(step, self.every, self.steps):
            return
        began = time.monotonic()
        figures: dict[str, Any] = {}
        with use_ema(state):
            for name, recipe in self.recipes.items():
                both = [self.compute_features(state, recipe, split, res) for split in self.sets[name]]
                found = ridge.summarize_draws(
                    ridge.evaluate_few_shot(*both, recipe.shots, recipe.seeds, recipe.l2), len(recipe.l2) > 1
                )
                for shots in recipe.shots:
                    meter.log(
                        f"step {step}/{self.steps}  {name} {shots}-shot {ridge.format_accuracy(f'shot{shots}', found)} %"
                    )
                figures |= {f"fewshot_{name.replace('/', '_')}_{key[4:]}": value for key, value in found.items()}
        state.network.train()
        seconds = time.monotonic() - began
        meter.pause(seconds)
        self.done[step] = {"step": step, **figures, SECONDS_KEY: round(seconds, 2)}
        self.run.log_metrics(self.done[step])

    def compute_features(self, state: TrainState, recipe: Fewshot, split: data.Split, res: int) -> ridge.Features:
        """What the network makes of a split, seen as the few-shot command sees it."""
        batches = make_eval_batches(split, res, recipe.view, recipe.batch, self.machine)
        x, y = compute_features(state.network, batches, self.machine, self.run.raise_if_interrupted)
        return ridge.Features(torch.from_numpy(x), torch.from_numpy(y), len(split.classes))

    def summary(self) -> dict[str, Any]:
        """The last probe, and the seconds that all of them took, of which the run's own speed knows nothing."""
        if not self.sets:
            return {}
        last = {key: value for key, value in self.done[self.steps].items() if key.startswith("fewshot_")}
        return last | {SECONDS_KEY: round(sum(line[SECONDS_KEY] for line in self.done.values()), 1)}


def is_probe_due(step: int, every: int | str, steps: int) -> bool:
    """Whether a step is the first, the last, or nearest to a multiple of ``every``: steps, or a share of them all."""
    share = max(1, float(every[:-1]) / 100 * steps if isinstance(every, str) else every)
    return step in (0, steps) or step == round(round(step / share) * share)
