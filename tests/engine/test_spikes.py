"""A loss that is far above its median is reported once, with the images of its batch."""

import json
from itertools import count

import torch

from helpers.overrides import TINY
from helpers.training import build_small_vit, make_state, random_batch
from vitrun.config import resolve
from vitrun.engine.loop import Step
from vitrun.engine.spikes import SpikeMonitor
from vitrun.objectives.labels import LabelObjective
from vitrun.runs.run import Run
from vitrun.runtime.console import Screen


def test_a_spike_is_reported_once_with_its_loss_the_median_and_the_images_by_their_loss(tmp_path):
    recipe = resolve.resolve_recipe("pretrain", [f"runs={tmp_path}"])
    run, state, lines = Run("pretrain", recipe, Screen(quiet=True)), make_state(build_small_vit()), []
    run.warn = lines.append
    monitor, batch = SpikeMonitor(run, state), random_batch(4)
    losses = [*[2.0] * 9, 90.0, *[2.0] * 30, 21.0, 300.0, 2.0, 40.0, *[2.0] * 10, 25.0, float("nan")]
    with run.locked():
        for number, loss in enumerate(losses, 1):
            state.losses.append(loss)
            monitor.record_step(
                Step(number, loss, 1.0, 0.1, 0.0, 1.0, batch.list_names, [torch.tensor([1.0, 5.0, 2.0, 4.0])], 4)
            )
    assert lines == [
        "Step 41 has loss 21, 10 times the median 2 of the last 40; its images, by their loss: 1, 3 and 2 more",
        "Step 55 has loss 25, 12 times the median 2 of the last 49; its images, by their loss: 1, 3 and 2 more",
    ]
    spikes = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines() if '"spike"' in line]
    assert [line["spike"] for line in spikes] == [41, 55] and spikes[0]["images"] == ["1", "3", "2", "0"]


def test_a_small_loss_may_be_many_times_a_smaller_one(tmp_path):
    recipe = resolve.resolve_recipe("pretrain", [f"runs={tmp_path}"])
    run, state, lines = Run("pretrain", recipe, Screen(quiet=True), dry=True), make_state(build_small_vit()), []
    run.warn = lines.append
    for number, loss in enumerate([*[0.01] * 20, 0.9], 1):
        state.losses.append(loss)
        SpikeMonitor(run, state).record_step(Step(number, loss, 1.0, 0.1, 0.0, 1.0, list, [torch.ones(0)], 4))
    assert not lines


def test_a_run_warns_of_a_spike_once(run_command, monkeypatch):
    loss, steps = LabelObjective.loss, count(1)

    def spike(self, logits, *targets):
        is_step = logits.requires_grad and len(logits) == 32
        return loss(self, logits, *targets) * (40 if is_step and next(steps) in (13, 14) else 1)

    monkeypatch.setattr(LabelObjective, "loss", spike)
    overrides = [override for override in TINY if not override.startswith("steps=")]
    recipe, _ = run_command("pretrain", *overrides, "steps=15", "micro_batch=32", "device=cpu")
    (log,) = recipe.runs.glob("*/log.txt")
    lines = [line for line in log.read_text().splitlines() if "times the median" in line]
    assert len(lines) == 1 and "Step 13 has loss" in lines[0] and "train-" in lines[0]
