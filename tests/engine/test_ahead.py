"""The loop for a GPU trains as the other one, reads no number of a step within it, and reports exact states."""

import json
import math
from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.overrides import TINY
from helpers.runs import hash_weights
from helpers.training import CPU, build_small_vit, byte_batch, make_state, random_batch, train_steps
from vitrun.config import resolve
from vitrun.engine import ahead, trainer
from vitrun.engine.ahead import fit_ahead
from vitrun.engine.fit_options import FitOptions
from vitrun.engine.loop import fit
from vitrun.engine.progress import Meter
from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.objectives import build_objective
from vitrun.objectives.labels import LOSSES, LabelObjective
from vitrun.runtime.device import HostCopy, Machine

READS = ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::masked_select", "aten::equal")
METHODS = ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


def snapshot(state) -> list[torch.Tensor]:
    """Return copies of all tensors that training changes."""
    moments = [value for entry in state.optimizer.state.values() for value in entry.values()]
    return [tensor.clone() for tensor in (*state.network.state_dict().values(), *moments, *(state.ema or ()))]


def build_convolutions() -> torch.nn.Module:
    """Build a network with batch norm."""
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 8, 8, 8), torch.nn.BatchNorm2d(8), torch.nn.Flatten(), torch.nn.Linear(128, 10)]
    return torch.nn.Sequential(*layers)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize("build", [lambda: build_small_vit(dropout=0.2), build_convolutions])
def test_it_trains_as_the_other_loop_and_every_report_finds_the_state_of_its_step(kind, build):
    batches, seen = [random_batch(8, seed=n) for n in range(4)], []
    batches[2].images[1, 0, 0, 0] = math.inf

    def run(loop):
        state = make_state(build(), micro=4, kind=kind)
        state.ema = [p.detach().clone() for p in state.network.parameters()]
        options = FitOptions(
            LOSSES["softmax"], 8, lambda step: 0.01 * (step + 1), 1.0, 0.9, 0, CPU, lambda _: None, lambda step: None
        )
        for step in loop(state, batches, options):
            seen.append((step.number, step.lr, step.loss, step.norm, step.micro_batch, step.is_skipped, state.step))
            seen.append((snapshot(state), [*state.losses], [*state.skipped]))

    run(fit)
    run(fit_ahead)
    assert len(seen) == 16
    for (number, lr, *numbers), (number2, lr2, *numbers2) in zip(seen[:8:2], seen[8::2]):
        assert (number, lr, repr(numbers)) == (number2, lr2, repr(numbers2)) and numbers[-1] == number
    for (tensors, *counters), (tensors2, *counters2) in zip(seen[1:8:2], seen[9::2]):
        torch.testing.assert_close(tensors2, tensors, rtol=1e-5, atol=1e-7)
        assert counters == counters2


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_a_first_step_that_is_not_finite_leaves_no_trace(kind):
    bad, good = random_batch(8), random_batch(8, seed=1)
    bad.images[0] = math.nan
    state, plain = (make_state(build_small_vit(), kind=kind) for _ in range(2))
    train_steps(state, [bad, good], fit=fit_ahead, on_non_finite=lambda step: None)
    train_steps(plain, [good])
    assert all(map(torch.equal, snapshot(state), snapshot(plain)))


@pytest.mark.parametrize("error", [Interrupted(ExitCode.TERMINATED), UserError("a bad image")])
def test_an_error_is_raised_after_the_report_of_the_step_before_it_whose_state_stays(error):
    state, reported = make_state(build_convolutions()), []

    def batches():
        yield random_batch(8)
        yield random_batch(8, seed=1)
        raise error

    options = FitOptions(LOSSES["softmax"], 8, lambda step: 0.1, None, None, 0, CPU, lambda _: None)
    with pytest.raises(type(error)):
        reported.extend(step.number for step in fit_ahead(state, batches(), options))
    assert state.step == 2 and len(state.losses) == 2


class CountReads(TorchDispatchMode):
    """Collect the operations that read a number back from a device."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().split(".")[0]
        if name in READS:
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@contextmanager
def counted_reads(monkeypatch):
    """Yield a list of what reads a number inside, but for the report of a step that was launched before."""
    with monkeypatch.context() as patch, CountReads() as mode:
        reading = []
        for name in METHODS:
            method = getattr(torch.Tensor, name)

            def read(tensor, *args, name=name, method=method, **kwargs):
                if not reading:
                    mode.found.append(name)
                return method(tensor, *args, **kwargs)

            patch.setattr(torch.Tensor, name, read)
        report = HostCopy.read

        def read_report(copy):
            reading.append(copy)
            found, numbers = len(mode.found), report(copy)
            del reading[:], mode.found[found:]
            return numbers

        patch.setattr(HostCopy, "read", read_report)
        yield mode.found


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
def test_no_number_is_read_back_within_a_step(monkeypatch, kind):
    network = build_small_vit(dropout=0.1, stochastic_depth=0.1)
    state, objective = make_state(network, micro=4, kind=kind), LabelObjective("softmax", mixup=0.2, cutmix=1.0)
    state.ema = [p.detach().clone() for p in network.parameters()]
    batches = [objective.prepare(byte_batch(8, seed=n), n) for n in range(3)]
    with counted_reads(monkeypatch) as found:
        train_steps(state, batches, decay=0.9, loss=objective.loss, fit=fit_ahead, machine=Machine("cpu", "bf16"))
    assert not found
    with counted_reads(monkeypatch) as found:
        train_steps(state, batches, decay=0.9, loss=objective.loss)
    assert found, "the loop for the CPU reads the loss"


@pytest.mark.parametrize("name", ["masked", "simmim"])
def test_corrupted_patches_are_selected_without_reading_their_number(monkeypatch, name):
    recipe = resolve.resolve_recipe("pretrain", [f"objective={name}", "model=vit_nano8", "model.depth=1"])
    objective = build_objective(recipe)
    state = make_state(objective.build_model(recipe.model, None, 32).network, micro=4, kind="adamw")
    batches = [objective.prepare(byte_batch(8, seed=n), n) for n in range(2)]
    with counted_reads(monkeypatch) as found:
        train_steps(state, batches, loss=objective.loss, fit=fit_ahead)
    assert not found


def test_a_run_has_the_same_metrics_skips_and_bits_interrupted_or_not(run_command, tmp_path, monkeypatch):
    prepare, record = LabelObjective.prepare, Meter.record_step

    def spoil(self, batch, step):
        if step in (1, 5):
            batch.images[1, 0, 0, 0] = math.inf
        return prepare(self, batch, step)

    def stop_after_four(meter, step):
        record(meter, step)
        if step.number == 4:
            meter.run.request_exit(ExitCode.TERMINATED)

    def lines(folder):
        (file,) = folder.glob("*/metrics.jsonl")
        found = [json.loads(line) for line in file.read_text().splitlines()]
        ignored = {"attempt", "seconds"}
        return [{key: value for key, value in line.items() if key not in ignored} for line in found if "loss" in line]

    monkeypatch.setattr(LabelObjective, "prepare", spoil)
    options = [*(o for o in TINY if not o.startswith("steps=")), "model.dropout=0.1", "steps=8", "on_nan=skip:2"]
    run_command("pretrain", *options)
    (tmp_path / "runs").rename(tmp_path / "plain")
    monkeypatch.setattr(trainer, "can_run_ahead", lambda state, machine: True)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Meter, "record_step", stop_after_four)
        run_command("pretrain", *options)
    run_command("pretrain", *options)
    assert hash_weights(tmp_path / "runs") == hash_weights(tmp_path / "plain")
    steps, plain = (lines(tmp_path / name) for name in ("runs", "plain"))
    assert [line.get("skipped") or line["step"] for line in steps] == [*range(1, 9)]
    assert steps == plain


def test_evaluations_stop_a_run_at_the_same_step(run_command, tmp_path, monkeypatch):
    options = [
        *(o for o in TINY if not o.startswith("steps=")),
        "steps=8",
        "eval.every=1",
        "eval.patience=1",
    ]
    options += ["optim.lr=1e-9"]
    _, plain = run_command("pretrain", *options)
    (tmp_path / "runs").rename(tmp_path / "plain")
    monkeypatch.setattr(trainer, "can_run_ahead", lambda state, machine: True)
    _, result = run_command("pretrain", *options)
    assert result["stopped_early_at"] == plain["stopped_early_at"] < 8
    assert hash_weights(tmp_path / "runs") == hash_weights(tmp_path / "plain")


@needs_gpu
@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_no_call_waits_for_the_gpu_within_a_step(kind):
    """By torch's own check, and by the names of the CUDA calls in a trace of its profiler."""
    machine = Machine("cuda", "bf16")
    network = build_small_vit(dropout=0.1, stochastic_depth=0.1).to(machine.device)
    state, objective = make_state(network, kind=kind), LabelObjective("softmax", mixup=0.2)
    state.ema = [p.detach().clone() for p in network.parameters()]
    batches = [objective.prepare(byte_batch(8, seed=n), n).pin() for n in range(6)]
    options = FitOptions(objective.loss, 8, lambda step: 0.01, 1.0, 0.9, 0, machine, lambda _: None)
    steps = ahead.fit_ahead(state, batches, options)
    next(steps), next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.profiler.profile() as profile:
            next(steps), next(steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert sorted(step.number for step in steps) == [5, 6]
    names = {event.name for event in profile.events()}
    assert not names & {"cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaMemcpy", "aten::_local_scalar_dense"}
