"""What training promises: the paper's arithmetic, whatever the micro-batch and the lanes."""

import os
import platform
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import TINY

from vitrun import choices, data, models, optim, start
from vitrun.loop import answers, fit
from vitrun.machine import Machine, choose_micro_batch
from vitrun.mistakes import Exit, Mistake, Stopped
from vitrun.objectives import LOSSES, Labelled, sigmoid_loss
from vitrun.state import State, averaged
from vitrun.views import WholeView

CPU = Machine("cpu", "fp32")


def small(classes: int = 10, **changes) -> torch.nn.Module:
    torch.manual_seed(0)
    row = replace(choices.model_rows()["vit_nano8"], depth=2, **changes)
    return models.build(row, classes, 32)


def batch(size: int, classes: int = 10, seed: int = 0) -> data.Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(size, 3, 32, 32, generator=generator) * 2 - 1
    return data.Batch(images, torch.randint(classes, (size,), generator=generator), np.arange(size))


def state_of(network, micro=8, kind="sgd", **options) -> State:
    words = ["init=random:vit_nano8", f"optim={kind}", *(f"optim.{k}={v}" for k, v in options.items())]
    recipe = start.load("finetune", words).optim
    return State(network, optim.optimizer(recipe, network), None, 0, micro)


def train(state, batches, lr=0.05, clip=1.0, decay=None, machine=CPU, objective=LOSSES["softmax"], tick=lambda _: None):
    options = {"objective": objective, "clip": clip, "decay": decay, "seed": 0, "machine": machine}
    return list(fit(state, batches, lr=lambda step: lr, tick=tick, **options))


def test_a_step_that_is_stopped_leaves_the_statistics_of_batches_as_they_were():
    layers = [torch.nn.Conv2d(3, 8, 8, 8), torch.nn.BatchNorm2d(8), torch.nn.Flatten(), torch.nn.Linear(128, 10)]
    state = state_of(torch.nn.Sequential(*layers))
    train(state, [batch(16)])
    before = {name: tensor.clone() for name, tensor in state.network.state_dict().items()}
    seen = []

    def stop_in_the_second_micro_batch(images):
        seen.append(layers[1].running_mean.clone())
        if len(seen) == 2:
            raise Stopped(Exit.INTERRUPTED)

    with pytest.raises(Stopped):
        train(state, [batch(16)], tick=stop_in_the_second_micro_batch)
    assert not torch.equal(seen[1], before["1.running_mean"]), "they had moved"
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.network.state_dict().items())


def test_a_model_overfits_eight_images():
    steps = train(state_of(small()), [batch(8)] * 60)
    assert steps[0].loss == pytest.approx(np.log(10), abs=0.01), "a zero head is undecided"
    assert steps[-1].loss < 0.05


@pytest.mark.parametrize("micro", [1, 3, 4, 8])
def test_the_step_does_not_depend_on_the_micro_batch(micro):
    whole, parts = state_of(small(), 8), state_of(small(), micro)
    first, second = (train(state, [batch(8), batch(8, seed=1)]) for state in (whole, parts))
    assert [s.loss for s in second] == pytest.approx([s.loss for s in first], rel=1e-5)
    for a, b in zip(whole.network.parameters(), parts.network.parameters()):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("micro", [1, 3, 8])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_the_step_of_a_mixed_batch_does_not_depend_on_the_micro_batch(micro, loss):
    aim = Labelled(loss, smoothing=0.1, mixup=0.5, seed=0)
    mixed = [aim.prepare(batch(8, seed=step), step) for step in range(2)]
    whole, parts = state_of(small(), 8), state_of(small(), micro)
    first, second = (train(state, mixed, objective=aim.loss) for state in (whole, parts))
    assert [s.loss for s in second] == pytest.approx([s.loss for s in first], rel=1e-5)
    for a, b in zip(whole.network.parameters(), parts.network.parameters()):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_a_step_repeats_to_the_last_bit_whatever_the_lanes_do_first():
    losses = {
        tuple(s.loss for s in train(state_of(small(), 2), [batch(16, seed=n) for n in range(3)])) for _ in range(3)
    }
    assert len(losses) == 1


def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_the_step():
    state = state_of(small())
    train(state, [batch(8)])
    before = [p.detach().clone() for p in state.network.parameters()]
    bad = batch(8)
    bad.images[3] = float("nan")
    with pytest.raises(Mistake, match="Step 1 has loss nan") as error:
        train(state, [bad])
    assert error.value.status == Exit.NUMERICS
    assert all(torch.equal(a, b) for a, b in zip(before, state.network.parameters()))


def test_warm_up_rises_from_zero_and_the_decay_ends_at_zero():
    for kind in ("cosine", "linear"):
        lr = optim.schedule(kind, 0.1, steps=110, warmup=10)
        assert [lr(0), lr(5), lr(10)] == pytest.approx([0, 0.05, 0.1])
        assert lr(60) == pytest.approx(0.05) and 0 < lr(109) < 0.0011 and lr(110) == pytest.approx(0, abs=1e-12)
    assert optim.schedule("constant", 0.1, 10, 0)(9) == 0.1


@pytest.mark.parametrize("options", [{}, {"positions": "2d"}, {"positions": "relative"}, {"head": "map"}])
def test_biases_norms_tokens_and_positions_are_not_decayed(options):
    network = small(**options)
    names = {name for name, p in network.named_parameters() if optim.decayed(name, p)}
    assert names and all(name.endswith("weight") and "norm" not in name for name in names)


def test_decoupled_decay_shrinks_the_kernels_by_lr_times_rate():
    network = small()
    kernel = network.blocks[0].mlp.fc1.weight
    before, state = kernel.detach().clone(), state_of(network, kind="adamw", weight_decay=0.5)
    blank = data.Batch(torch.zeros(4, 3, 32, 32), torch.zeros(4, dtype=torch.long), np.arange(4))
    kernel.requires_grad_(True)
    train(state, [blank], lr=0.01)
    step = (kernel.detach() - before * (1 - 0.01 * 0.5)).abs().max()
    assert step <= 0.01 * 1.01, "Adam's own step is bounded by the learning rate"


def test_the_sigmoid_loss_sums_over_classes():
    logits, labels = torch.randn(4, 7), torch.tensor([0, 3, 6, 3])
    targets = torch.eye(7)[labels]
    by_hand = -(targets * logits.sigmoid().log() + (1 - targets) * (1 - logits.sigmoid()).log()).sum(1).mean()
    assert float(sigmoid_loss(logits, labels).mean()) == pytest.approx(float(by_hand), rel=1e-5)


@pytest.mark.parametrize("classes", [10, 1000, 21_843])
def test_the_sigmoid_loss_of_a_fresh_head_is_exact(classes):
    logits, labels = torch.full((2, classes), -10.0), torch.tensor([0, 3])
    found = sigmoid_loss(logits, labels)
    assert found.tolist() == pytest.approx([10 + classes * np.log1p(np.exp(-10.0))] * 2, rel=3e-6)


def test_polyak_averaging_follows_its_formula_and_is_what_is_tested():
    state = state_of(small())
    state.ema = [p.detach().clone() for p in state.network.parameters()]
    expected = [p.clone() for p in state.ema]
    for number in range(3):
        train(state, [batch(8, seed=number)], decay=0.9)
        expected = [0.9 * e + 0.1 * p.detach() for e, p in zip(expected, state.network.parameters())]
    weights = [p.detach().clone() for p in state.network.parameters()]
    with averaged(state):
        for e, p in zip(expected, state.network.parameters()):
            torch.testing.assert_close(p.detach(), e, atol=1e-7, rtol=1e-5)
    assert all(torch.equal(w, p) for w, p in zip(weights, state.network.parameters()))


@pytest.mark.parametrize("size", [1, 3, 7, 50])
def test_every_test_image_counts_exactly_once(size):
    recipe = start.load("pretrain", ["data.test_images=37"]).data
    test, network = data.open_split(recipe, "test"), small(120)
    found = answers(network, data.testing(test, WholeView(32), size), LOSSES["softmax"], CPU, lambda _: None)
    assert sorted(found.indices) == list(range(37)) and (found.labels == test.labels).all()


@pytest.mark.parametrize("tokens, width, batch_size", [(17, 64, 128), (65, 192, 128), (197, 768, 4096), (577, 1024, 7)])
def test_the_micro_batch_divides_the_batch_and_leaves_work_for_every_lane(tokens, width, batch_size):
    micro = choose_micro_batch(batch_size, tokens, width, torch.device("cpu"), 2)
    assert batch_size % micro == 0 and micro <= max(1, batch_size // 2)


def test_a_batch_begun_again_draws_what_a_first_try_draws(monkeypatch):
    """Where a GPU ran out of memory in the midst of a batch, the dropout of the step is the same."""

    def after(fails: bool) -> torch.Tensor:
        network = small(dropout=0.3)
        calls = iter([fails])

        def loss(logits, labels):
            if next(calls, False):
                raise torch.OutOfMemoryError
            return LOSSES["softmax"](logits, labels)

        train(state_of(network, micro=8 if fails else 4), [batch(8)], objective=loss)
        return network.head.weight.detach()

    torch.testing.assert_close(after(True), after(False), rtol=0, atol=0)


def test_what_draws_random_numbers_trains_in_one_lane():
    machine = Machine("cpu", "fp32")
    machine.lanes = 4
    row = choices.model_rows()["vit_nano8"]
    drawing = [replace(row, dropout=0.1), replace(row, stochastic_depth=0.1)]
    assert [machine.lanes_for(models.build(one, 2, 32)) for one in (row, *drawing)] == [4, 1, 1]


PAGES = """
import resource, sys, torch
from concurrent.futures import ThreadPoolExecutor
from vitrun.cli import app

app(sys.argv[1:], standalone_mode=False)

def pages() -> int:  # that the kernel gives for forty megabytes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with ThreadPoolExecutor(1) as pool:
    print(*[pool.submit(pages).result() for _ in range(30)])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than GNU's")
def test_memory_that_a_lane_frees_is_kept_for_the_next_step(tmp_path):
    words = ["pretrain", *TINY, "steps=1", "warmup=0", f"runs={tmp_path}", "--quiet"]
    without_gpu = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", PAGES, *words], capture_output=True, text=True, env=without_gpu, check=True
    )
    *_, last = map(int, done.stdout.splitlines()[-1].split())  # before glibc 2.38 the first tries may not fit
    assert last < 1_000, "of 10,000"
