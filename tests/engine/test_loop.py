"""A step of training does not depend on the micro-batch or on the workers."""

import weakref

import numpy as np
import pytest
import torch

from helpers.training import build_small_vit, make_state, random_batch, train_steps
from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.objectives.labels import LOSSES, LabelObjective


def test_an_interrupted_step_leaves_the_batch_norm_statistics_unchanged():
    layers = [torch.nn.Conv2d(3, 8, 8, 8), torch.nn.BatchNorm2d(8), torch.nn.Flatten(), torch.nn.Linear(128, 10)]
    state = make_state(torch.nn.Sequential(*layers))
    train_steps(state, [random_batch(16)])
    before = {name: tensor.clone() for name, tensor in state.network.state_dict().items()}
    means = []

    def stop_in_the_second_micro_batch(images):
        means.append(layers[1].running_mean.clone())
        if len(means) == 2:
            raise Interrupted(ExitCode.INTERRUPTED)

    with pytest.raises(Interrupted):
        train_steps(state, [random_batch(16)], tick=stop_in_the_second_micro_batch)
    assert not torch.equal(means[1], before["1.running_mean"]), "it had changed"
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.network.state_dict().items())


def test_a_model_overfits_eight_images():
    steps = train_steps(make_state(build_small_vit()), [random_batch(8)] * 60)
    assert steps[0].loss == pytest.approx(np.log(10), abs=0.01), "a zero head is undecided"
    assert steps[-1].loss < 0.05


@pytest.mark.parametrize("micro", [1, 3, 4, 8])
def test_the_step_does_not_depend_on_the_micro_batch(micro):
    full, parts = make_state(build_small_vit(), 8), make_state(build_small_vit(), micro)
    first, second = (train_steps(state, [random_batch(8), random_batch(8, seed=1)]) for state in (full, parts))
    assert [s.loss for s in second] == pytest.approx([s.loss for s in first], rel=1e-5)
    for a, b in zip(full.network.parameters(), parts.network.parameters()):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("micro", [1, 3, 8])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_the_step_of_a_mixed_batch_does_not_depend_on_the_micro_batch(micro, loss):
    objective = LabelObjective(loss, smoothing=0.1, mixup=0.5, seed=0)
    mixed = [objective.prepare(random_batch(8, seed=step), step) for step in range(2)]
    full, parts = make_state(build_small_vit(), 8), make_state(build_small_vit(), micro)
    first, second = (train_steps(state, mixed, loss=objective.loss) for state in (full, parts))
    assert [s.loss for s in second] == pytest.approx([s.loss for s in first], rel=1e-5)
    for a, b in zip(full.network.parameters(), parts.network.parameters()):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_the_gradients_of_a_step_are_freed_before_the_next_one(monkeypatch):
    state, gradients, alive = make_state(build_small_vit()), [], []
    update = state.optimizer.step

    def step():
        gradients[:] = [weakref.ref(parameter.grad) for parameter in state.network.parameters()]
        update()

    def tick(images):
        alive.append(any(gradient() is not None for gradient in gradients))

    monkeypatch.setattr(state.optimizer, "step", step)
    train_steps(state, [random_batch(8)] * 3, tick=tick)
    assert gradients and len(alive) >= 3 and not any(alive)


def test_a_step_is_bit_exact_in_whatever_order_the_workers_finish():
    losses = {
        tuple(
            s.loss for s in train_steps(make_state(build_small_vit(), 2), [random_batch(16, seed=n) for n in range(3)])
        )
        for _ in range(3)
    }
    assert len(losses) == 1


def test_a_loss_that_is_not_finite_stops_the_run_before_the_update_and_names_the_step():
    state = make_state(build_small_vit())
    train_steps(state, [random_batch(8)])
    before = [p.detach().clone() for p in state.network.parameters()]
    bad = random_batch(8)
    bad.images[3] = float("nan")
    with pytest.raises(UserError, match="Step 2 has loss nan") as error:
        train_steps(state, [bad])
    assert error.value.status == ExitCode.NUMERICS
    assert all(torch.equal(a, b) for a, b in zip(before, state.network.parameters()))


def test_a_repeated_batch_has_the_draws_of_the_first_attempt(monkeypatch):
    """After running out of GPU memory within a batch, the dropout of the step is the same."""

    def after(fails: bool) -> torch.Tensor:
        network = build_small_vit(dropout=0.3)
        calls = iter([fails])

        def loss(logits, labels):
            if next(calls, False):
                raise torch.OutOfMemoryError
            return LOSSES["softmax"](logits, labels)

        train_steps(make_state(network, micro=8 if fails else 4), [random_batch(8)], loss=loss)
        return network.head.weight.detach()

    torch.testing.assert_close(after(True), after(False), rtol=0, atol=0)
