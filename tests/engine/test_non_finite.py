"""A batch that is not finite stops the run, or is skipped if ``on_nan`` allows it; such weights are never saved."""

import json
import math

import pytest
import torch

from helpers.overrides import TINY
from helpers.runs import hash_weights
from helpers.training import build_small_vit, make_state, random_batch, train_steps
from vitrun.engine.ahead import fit_ahead
from vitrun.engine.loop import fit
from vitrun.engine.progress import Meter
from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.objectives.labels import LabelObjective

SHORT = [*(override for override in TINY if not override.startswith("steps=")), "save_minutes=0"]


@pytest.fixture
def spoil(monkeypatch):
    """Return a function that gives the second image of some batches, counted from 0, a pixel that is not finite."""

    def spoil(*steps: int) -> None:
        prepare = LabelObjective.prepare

        def prepare_spoilt(self, batch, step):
            if step in steps:
                batch.images[1, 0, 0, 0] = math.inf
            return prepare(self, batch, step)

        monkeypatch.setattr(LabelObjective, "prepare", prepare_spoilt)

    return spoil


def read_lines(folder, key: str) -> list[dict]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if key in line]


@pytest.mark.parametrize("loop", [fit, fit_ahead])
def test_a_skipped_batch_changes_nothing_but_the_counters(loop):
    layers = [torch.nn.Conv2d(3, 8, 8, 8), torch.nn.BatchNorm2d(8), torch.nn.Flatten(), torch.nn.Linear(128, 10)]
    state = make_state(torch.nn.Sequential(*layers), micro=4, kind="adamw")
    state.ema = [p.detach().clone() for p in state.network.parameters()]
    train_steps(state, [random_batch(8)], decay=0.9)

    def snapshot() -> list[torch.Tensor]:
        moments = [value for entry in state.optimizer.state.values() for value in entry.values()]
        return [tensor.clone() for tensor in (*state.network.state_dict().values(), *moments, *state.ema)]

    before, bad = snapshot(), random_batch(8)
    bad.images[5] = math.nan
    steps = train_steps(state, [bad], decay=0.9, on_non_finite=lambda step: None, fit=loop)
    assert all(map(torch.equal, before, snapshot())) and len(before) == 33
    assert state.step == 2 and state.skipped == [2] and steps[0].is_skipped and len(state.losses) == 1
    assert not train_steps(state, [random_batch(8)])[0].is_skipped and state.step == 3


@pytest.mark.parametrize("overrides", [(), ("model.dropout=0.1", "ema=0.9")])
def test_a_run_that_skips_and_is_interrupted_ends_with_the_same_bits_and_budget(
    run_command, tmp_path, spoil, monkeypatch, overrides
):
    spoil(1, 5)
    options = [*SHORT, *overrides, "steps=8", "on_nan=skip:2"]
    recipe, whole = run_command("pretrain", *options)
    (folder,) = recipe.runs.iterdir()
    assert whole["skipped_steps"] == 2
    assert [line["skipped"] for line in read_lines(folder, "skipped")] == [2, 6]
    assert [line["step"] for line in read_lines(folder, "step")] == [1, 3, 4, 5, 7, 8]
    recipe.runs.rename(tmp_path / "whole")
    record = Meter.record_step

    def stop_after_four(meter, step):
        record(meter, step)
        if step.number == 4:
            meter.run.request_exit(ExitCode.TERMINATED)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Meter, "record_step", stop_after_four)
        run_command("pretrain", *options)
    with pytest.raises(UserError, match="Step 6 has loss .*on_nan=skip:1 is used up") as error:
        run_command("pretrain", *options[:-1], "on_nan=skip:1")
    assert error.value.status == ExitCode.NUMERICS
    assert run_command("pretrain", *options)[1]["skipped_steps"] == 2
    assert hash_weights(recipe.runs) == hash_weights(tmp_path / "whole")


def test_a_stop_names_a_file_with_the_step_its_images_the_last_losses_and_the_first_tensor(
    run_command, tmp_path, spoil
):
    spoil(3)
    with pytest.raises(UserError, match="Step 4 has loss nan") as error:
        run_command("pretrain", *SHORT, "steps=8")
    (file,) = (tmp_path / "runs").glob("*/not-finite-step-4.json")
    assert error.value.status == ExitCode.NUMERICS and str(file) in str(error.value) and len(str(error.value)) < 500

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    dump = json.loads(file.read_text(), parse_constant=refuse)
    lines = read_lines(file.parent, "step")
    assert dump["step"] == 4 and dump["lr"] > 0 and dump["loss"] is None and dump["norm"] is None
    assert dump["last_losses"] == [line["loss"] for line in lines] and len(lines) == 3
    assert len(dump["images"]) == len(set(dump["images"])) == 32 and dump["image_losses"].count(None) == 1
    assert dump["first_not_finite"] == f"image {dump['images'][1]}" in str(error.value)
    assert sorted(path.name for path in file.parent.glob("checkpoints/step-*")) == ["step-00000002", "step-00000003"]


@pytest.mark.parametrize("overrides", [(), ("on_nan=skip:3", "clip=null")])
def test_weights_that_the_last_update_made_infinite_are_not_saved(run_command, tmp_path, overrides):
    with pytest.raises(UserError, match="The update of step 1 at lr 1e.308 .* made weight") as error:
        run_command("pretrain", *SHORT[:-2], "steps=1", "warmup=0", "optim.lr=1e308", "schedule=constant", *overrides)
    assert error.value.status == ExitCode.NUMERICS
    assert list(tmp_path.glob("runs/*/not-finite-step-1.json")) and not list(tmp_path.glob("runs/*/checkpoints"))


def test_a_mean_of_losses_near_the_largest_number_of_float32_is_finite(run_command):
    overrides = [override for override in SHORT if override.partition("=")[0] not in ("batch", "warmup")]
    _, result = run_command("pretrain", *overrides, "batch=8", "steps=2", "warmup=1", "optim=sgd", "optim.lr=1e38")
    assert 1e37 < result["loss"] < math.inf


ORIGINS = {
    "weight": "weight blocks.0.mlp.fc1.weight",
    "layer": "output of blocks.1.norm1",
    "loss": "loss of image 3",
    "gradient": "gradient of blocks.1.mlp.fc2.bias",
}


@pytest.mark.parametrize("loop", [fit, fit_ahead])
@pytest.mark.parametrize("kind", ORIGINS)
def test_the_first_tensor_that_is_not_finite_is_named(kind, loop):
    network = build_small_vit()
    named = dict(network.named_parameters())
    steps = []
    if kind == "weight":
        with torch.no_grad():
            named["blocks.0.mlp.fc1.weight"][0, 0] = math.nan
    if kind == "layer":
        network.blocks[1].norm1.register_forward_hook(lambda module, inputs, output: output / 0)
    if kind == "gradient":
        named["blocks.1.mlp.fc2.bias"].register_hook(lambda gradient: gradient * math.inf)

    def loss(logits, labels):
        values = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        return torch.cat([values[:3], values[3:] * math.inf]) if kind == "loss" else values

    train_steps(make_state(network), [random_batch(8)], loss=loss, on_non_finite=steps.append, fit=loop)
    assert [step.origin for step in steps] == [ORIGINS[kind]] and steps[0].in_weights == (kind == "weight")
