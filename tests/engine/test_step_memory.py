"""A micro-batch that memory does not suffice for is lowered or refused, before a step or in it, in one sentence."""

import random
import re

import pytest
import torch

from helpers.limits import limited_memory
from helpers.overrides import TINY
from helpers.processes import CommandProcess, read_error_line
from helpers.training import build_small_vit, make_state, random_batch, train_steps
from vitrun.engine import step_layout
from vitrun.engine.step_memory import StepMemory, fit_micro_batch
from vitrun.errors import ExitCode, OutOfMemory, UserError
from vitrun.objectives.labels import LOSSES
from vitrun.runtime.memory import Memory

GB = 2**30


def lose_memory(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the loss of each image, and take a gigabyte of addresses for each at the same time."""
    torch.empty(len(logits) * GB, dtype=torch.uint8)
    return LOSSES["softmax"](logits, labels)


def test_a_step_that_runs_out_of_memory_halves_its_micro_batch_and_is_the_same_step():
    state, other = make_state(build_small_vit(), micro=8), make_state(build_small_vit(), micro=2)
    with limited_memory(3 * GB):
        train_steps(state, [random_batch(8)], loss=lose_memory)
    train_steps(other, [random_batch(8)])
    assert state.micro_batch == 2
    assert all(map(torch.equal, state.network.parameters(), other.network.parameters()))


CUDA = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 139.81 GiB of which 1.06 GiB is "
    "free. Including non-PyTorch memory, this process has 138.74 GiB memory in use."
)


def test_a_gpu_that_runs_out_of_memory_is_answered_as_a_cpu_is():
    """Raise torch's error of a GPU where a micro-batch is computed, as a machine without one cannot run out of it."""

    def fail(logits, labels):
        if len(logits) > 4:
            raise torch.OutOfMemoryError(CUDA)
        return LOSSES["softmax"](logits, labels)

    state = make_state(build_small_vit(), micro=8)
    with pytest.raises(OutOfMemory, match=r"step 1 with 8 images at once \(2.7 GB more .* Use micro_batch=4") as error:
        train_steps(state, [random_batch(8)], loss=fail, halve=False)
    assert error.value.status == ExitCode.SPACE and state.step == 0
    assert len(train_steps(state, [random_batch(8)], loss=fail)) == 1 and state.micro_batch == 4


@pytest.mark.parametrize("micro, way_out", [(8, "micro_batch=4, or auto"), (1, "smaller model or res")])
def test_a_fixed_micro_batch_that_runs_out_of_memory_is_refused_in_one_sentence(micro, way_out):
    state = make_state(build_small_vit(), micro=micro)
    with limited_memory(GB // 2), pytest.raises(OutOfMemory, match="more are needed") as error:
        train_steps(state, [random_batch(8)], loss=lose_memory, halve=False)
    assert error.value.status == ExitCode.SPACE and way_out in str(error.value) and state.step == 0


def test_a_run_that_runs_out_of_memory_saves_what_it_has(run_command, tmp_path, monkeypatch):
    monkeypatch.setattr(step_layout, "available_memory", lambda processes: None)
    overrides = [*TINY, "micro_batch=32", "model.dropout=0.1"]
    taken = iter([0, 0, 0, 2**44])

    def lose(self, logits, *targets):
        torch.empty(next(taken, 0), dtype=torch.uint8)
        return LOSSES["softmax"](logits, *targets)

    with monkeypatch.context() as patch, pytest.raises(OutOfMemory, match="step 4 with 32 images"):
        patch.setattr("vitrun.objectives.labels.LabelObjective.loss", lose)
        run_command("pretrain", *overrides)
    assert [path.name for path in tmp_path.glob("runs/*/checkpoints/step-*")] == ["step-00000003"]
    assert run_command("pretrain", *overrides)[1]["steps"] == 6


def test_a_micro_batch_that_cannot_fit_is_refused_before_the_first_step_and_the_one_that_is_named_fits(run_command):
    model_and_data = [override for override in TINY if override.startswith(("model=", "data."))]
    large = [*model_and_data, "res=256", "batch=64", "steps=1", "warmup=0", "precision=fp32", "device=cpu"]
    with limited_memory(GB // 2):
        with pytest.raises(UserError, match="takes about .* GB, and `ulimit -v` leaves 0.5") as error:
            run_command("pretrain", *large, "micro_batch=64", dry=True)
        assert error.value.status == ExitCode.SPACE and error.value.option == "micro_batch"
        fitting = re.search("Use (micro_batch=(\\d+)),", str(error.value))
        assert 2 <= int(fitting[2]) < 32
        run_command("pretrain", *large, fitting[1], dry=True)


FREE = Memory(4 * GB, "the machine")


@pytest.mark.parametrize("image, lowered", [(GB // 64, 16), (GB // 8, 6), (GB, 1)])
def test_auto_is_lowered_with_one_line_to_what_fits(image, lowered):
    lines, state = [], make_state(build_small_vit(), micro=16)
    memory = StepMemory(60, 4, 0, 0, image)
    fit_micro_batch(state, memory, FREE, True, lines.append)
    assert state.micro_batch == lowered and len(lines) == (lowered < 16)
    assert lowered == 1 or memory.fits(lowered, FREE.size) and "takes about" in "".join(lines) or lowered == 16


def test_a_fixed_micro_batch_that_may_fit_is_warned_of(run_command):
    lines, state = [], make_state(build_small_vit(), micro=16)
    fit_micro_batch(state, StepMemory(16, 1, 0, 0, GB // 4), FREE, False, lines.append)
    assert state.micro_batch == 16 and "if that fails, use micro_batch=8" in lines[0]


def test_a_network_that_fits_with_no_micro_batch_is_refused():
    for is_auto in (True, False):
        with pytest.raises(UserError, match="OMP_NUM_THREADS=1") as error:
            fit_micro_batch(make_state(build_small_vit()), StepMemory(8, 4, 0, 2 * GB, GB), FREE, is_auto, print)
        assert error.value.status == ExitCode.SPACE


def test_the_micro_batch_that_is_chosen_fits_for_any_number_of_images_and_workers():
    draw = random.Random(0)
    for _ in range(300):
        images, workers, worker = draw.randint(1, 70), draw.randint(1, 8), draw.randint(0, GB)
        memory = StepMemory(images, workers, draw.randint(0, GB // 8), worker, draw.randint(1, GB // 8))
        size, at_most = draw.randint(1, 4 * GB), draw.randint(1, images)
        fitting = [micro for micro in range(1, at_most + 1) if memory.fits(micro, size)]
        chosen = memory.choose_fitting(size, at_most)
        assert chosen is None if not fitting else chosen in fitting and 2 * chosen >= max(fitting)


COMMANDS = {
    "pretrain": ["model=vit_h14"],
    "finetune": ["init=random:vit_h14"],
    "eval": ["init=random:vit_h14", "data=digits"],
    "fewshot": ["init=random:vit_h14", "data=digits"],
    "dedup": ["data=digits", "against=digits", "init=random:vit_h14"],
    "export": ["init=random:vit_h14", "path=out"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_running_out_of_memory_is_one_sentence_in_every_command(command, tmp_path):
    """The network takes 2.5 GB."""
    arguments = [*COMMANDS[command], *[f"runs={tmp_path}"] * (command != "export")]
    done = CommandProcess(command, *arguments, folder=tmp_path, memory=GB // 4)
    done.wait()
    line = read_error_line(done, ExitCode.SPACE)
    assert f"vitrun {command}: Out of memory" in line and "Raise `ulimit -v`, which limits" in line and len(line) < 400
