"""Agreement with the published JAX code, where its reference vectors lie beside the checkout; and what needs none."""

import numpy as np
import pytest
import torch

from vitrun import data, start, training, weights
from vitrun.machine import Machine
from vitrun.ridge import draw, ridge, standardise
from vitrun.ridge import fit as fit_ridge
from vitrun.run import Run
from vitrun.screen import Screen


def images(array: np.ndarray) -> torch.Tensor:
    """NHWC to NCHW."""
    return torch.from_numpy(array).permute(*range(array.ndim - 3), -1, -3, -2).contiguous()


@pytest.mark.shared
def test_twenty_five_steps_of_fine_tuning_follow_the_published_curve(shared, tmp_path):
    """Losses, norms and learning rates, from the words that a user would type through what ``train`` itself calls."""
    weights_file = shared / "golden" / "finetune_curve.npz"
    reference = np.load(weights_file)
    words = ["steps=25", "warmup=5", "optim.lr=0.05", "batch=8", "micro_batch=4", "precision=fp32", "device=cpu"]
    recipe = start.load("finetune", [f"init={weights_file}", f"runs={tmp_path}", *words])
    run = Run("finetune", recipe, Screen(quiet=True), dry=True)
    loaded = weights.load(recipe.init, recipe.runs, recipe.seed, run.say)  # with its head: the curve begins from it
    x, y = images(reference["io/images_nhwc"]), torch.from_numpy(reference["io/labels"]).long()  # [25, 8, ...], [25, 8]
    batches = [data.Batch(*step, np.arange(8)) for step in zip(x, y)]
    machine = Machine(recipe.device, recipe.precision)
    plan = training.Plan(loaded.network, loaded.model, loaded.res, None, None)
    state = training.begin(recipe, plan, run, machine)
    steps = list(training.fit_as(recipe, plan, state, batches, *training.lengths(recipe, 25 * 8), machine, run.tick))
    np.testing.assert_allclose([s.lr for s in steps], reference["io/lr"], rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose([s.loss for s in steps], reference["io/loss"], rtol=1e-4)
    np.testing.assert_allclose([s.norm for s in steps], reference["io/grad_norm"], rtol=1e-4)
    with torch.no_grad():
        np.testing.assert_allclose(loaded.network.eval()(x[0]), reference["io/logits_after"], atol=1e-4)


@pytest.mark.shared
@pytest.mark.parametrize("shots", [1, 5, 10, 25])
def test_few_shot_accuracies_equal_the_published_solver(shared, shots):
    reference = np.load(shared / "golden" / "fewshot_ridge.npz")
    x, y, x_test, y_test = (torch.from_numpy(reference[f"io/{k}"]) for k in ("x_train", "y_train", "x_test", "y_test"))
    rows = np.concatenate([order[:shots] for order in draw(y.numpy(), 0)])
    np.testing.assert_array_equal(rows, reference[f"io/index_{shots}"])
    for l2 in (1, 1024):
        (classifier,) = fit_ridge(x[rows], y[rows].long(), int(y.max()) + 1, (l2,))
        assert classifier.accuracy(x_test, y_test.long()) == pytest.approx(
            float(reference[f"io/acc_{shots}_l2_{l2}"]), abs=1e-6
        )


def test_ridge_solves_its_normal_equations_when_wide_and_when_tall():
    torch.manual_seed(0)
    for number, width in ((20, 50), (60, 10)):
        x, y = torch.randn(number, width), torch.arange(number) % 4
        targets = torch.nn.functional.one_hot(y, 4).double() * 2 - 1
        x_ = x.double()
        expected = torch.linalg.solve(x_.T @ x_ + 7 * torch.eye(width), x_.T @ targets)
        torch.testing.assert_close(ridge(x, y, 4, (7.0,))[0].double(), expected, atol=1e-5, rtol=1e-4)


def test_features_are_standardised_by_the_subset_and_followed_by_the_constant():
    x = torch.randn(50, 3) * 4 + 2
    found = standardise(x, x.mean(0), x.std(0, correction=0) + 1e-5)
    assert found[:, :3].mean(0).abs().max() < 1e-5 and (found[:, 3] == 100).all()


def test_shots_are_nested_within_a_seed_and_differ_between_seeds():
    labels = np.repeat(np.arange(5), 30)
    first, again, other = draw(labels, 0), draw(labels, 0), draw(labels, 1)
    assert all((a == b).all() for a, b in zip(first, again)) and any((a != b).any() for a, b in zip(first, other))
    assert all((labels[rows] == label).all() for label, rows in enumerate(first))
