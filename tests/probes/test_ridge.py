"""The ridge probe: its solution, its draws, and the choice of l2."""

import numpy as np
import pytest
import torch
from scipy import stats

from helpers.features import make_clusters
from vitrun.errors import ExitCode, UserError
from vitrun.probes import ridge
from vitrun.probes.draws import HELD_OUT_PER_CLASS, draw_images, shuffle_by_class
from vitrun.probes.ridge import Features


def test_each_l2_is_solved_independently_of_the_others():
    train, test = make_clusters(60), make_clusters(90, seed=1)
    l2s = (1e-3, 1.0, 1e6)
    together = ridge.fit_classifiers(train.x, train.y, 3, l2s)
    for l2, one in zip(l2s, together):
        torch.testing.assert_close(one.weights, ridge.fit_classifiers(train.x, train.y, 3, (l2,))[0].weights)
    assert len({one.accuracy(test.x, test.y) for one in together}) > 1


def draw_all(train: Features, *options):
    return draw_images(train.y.numpy(), np.arange(len(train.y)), *options)


def test_l2_is_chosen_on_training_images_outside_every_draw_of_the_seed_and_never_on_test_images():
    train, test = make_clusters(200), make_clusters(90, seed=1)
    l2s = (1e-3, 10.0, 1e6)
    draws = draw_all(train, (1, 5), (0, 1), l2s)
    assert len(draws.rows) < 200
    drawn = Features(train.x[draws.rows], train.y[draws.rows], 3)
    chosen = ridge.evaluate_few_shot(draws, drawn, test, l2s)
    spoilt = Features(-test.x, test.y, 3)
    assert [one.l2 for one in ridge.evaluate_few_shot(draws, drawn, spoilt, l2s)] == [one.l2 for one in chosen]
    for one in chosen:
        order = shuffle_by_class(train.y.numpy(), one.seed)
        held_out = np.concatenate([rows[5 : 5 + HELD_OUT_PER_CLASS] for rows in order])
        assert len(held_out) == 3 * 25 and not set(held_out) & set(one.rows.tolist())
        single = {l2: ridge.fit_classifiers(train.x[one.rows], train.y[one.rows], 3, (l2,))[0] for l2 in l2s}
        scores = {l2: single[l2].accuracy(train.x[held_out], train.y[held_out]) for l2 in l2s}
        assert scores[one.l2] == max(scores.values())
        assert one.accuracy == single[one.l2].accuracy(test.x, test.y)


def test_too_few_images_to_choose_l2_is_an_error():
    with pytest.raises(UserError, match="With 9 shots no training image is left") as error:
        draw_all(make_clusters(27), (9,), (0,), (1.0, 2.0))
    assert (error.value.option, error.value.value) == ("l2", "[1,2]") and error.value.status == ExitCode.DATA


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30, 1001])
def test_the_point_of_student_is_that_of_scipy(freedom):
    assert ridge.student_point(freedom, 0.95) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-12)


def test_the_interval_is_that_of_student_and_one_draw_has_none():
    values = [0.5, 0.6, 0.55]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert ridge.ci95_half_width(values) == pytest.approx((high - low) / 2)
    draws = [ridge.DrawResult(seed, 5, np.zeros(1), 1024, value) for seed, value in enumerate(values)]
    metric = ridge.summarize_draws(draws)[5]
    assert metric.ci95 == pytest.approx(high - 0.55) and metric.std == pytest.approx(0.05)
    assert ridge.format_accuracy(metric) == "55.0 +- 5.0 (95 %: 42.6 to 67.4)"
    single = ridge.summarize_draws(draws[:1])[5]
    assert single.ci95 is None and ridge.format_accuracy(single) == "50.0"


@pytest.mark.shared
@pytest.mark.parametrize("shots", [1, 5, 10, 25])
def test_few_shot_accuracies_equal_the_published_solver(shared, shots):
    reference = np.load(shared / "golden" / "fewshot_ridge.npz")
    x, y, x_test, y_test = (torch.from_numpy(reference[f"io/{k}"]) for k in ("x_train", "y_train", "x_test", "y_test"))
    rows = np.concatenate([order[:shots] for order in shuffle_by_class(y.numpy(), 0)])
    np.testing.assert_array_equal(rows, reference[f"io/index_{shots}"])
    for l2 in (1, 1024):
        (classifier,) = ridge.fit_classifiers(x[rows], y[rows].long(), int(y.max()) + 1, (l2,))
        assert classifier.accuracy(x_test, y_test.long()) == pytest.approx(
            float(reference[f"io/acc_{shots}_l2_{l2}"]), abs=1e-6
        )


def test_ridge_solves_its_normal_equations_for_wide_and_tall_matrices():
    torch.manual_seed(0)
    for number, width in ((20, 50), (60, 10)):
        x, y = torch.randn(number, width), torch.arange(number) % 4
        targets = torch.nn.functional.one_hot(y, 4).double() * 2 - 1
        x_ = x.double()
        expected = torch.linalg.solve(x_.T @ x_ + 7 * torch.eye(width), x_.T @ targets)
        torch.testing.assert_close(ridge.solve_ridge(x, y, 4, (7.0,))[0].double(), expected, atol=1e-5, rtol=1e-4)


def test_features_are_standardized_by_the_subset_and_followed_by_a_constant():
    x = torch.randn(50, 3) * 4 + 2
    standardized = ridge.standardize(x, x.mean(0), x.std(0, correction=0) + 1e-5)
    assert standardized[:, :3].mean(0).abs().max() < 1e-5 and (standardized[:, 3] == 100).all()


def test_shots_are_nested_within_a_seed_and_differ_between_seeds():
    labels = np.repeat(np.arange(5), 30)
    first, again, other = (
        shuffle_by_class(labels, 0),
        shuffle_by_class(labels, 0),
        shuffle_by_class(labels, 1),
    )
    assert all((a == b).all() for a, b in zip(first, again)) and any((a != b).any() for a, b in zip(first, other))
    assert all((labels[rows] == label).all() for label, rows in enumerate(first))


@pytest.mark.parametrize("images, columns", [(20, 64), (200, 8)])  # a wide and a tall system
@pytest.mark.parametrize("constant", [0.1, 1.7, 37.3])  # float32 means of which have a rounding error
def test_a_feature_that_is_constant_in_the_shots_has_no_effect_on_test_images(images, columns, constant):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(images) % 3  # classes of unequal size
    x = torch.randn(images, columns, generator=generator) + y[:, None]
    x_test = torch.randn(300, columns, generator=generator)
    odd = 100 * torch.randn(300, 4, generator=generator)
    (plain,) = ridge.fit_classifiers(x, y, 3, (1024,))
    (other,) = ridge.fit_classifiers(torch.cat([x, torch.full((images, 4), constant)], 1), y, 3, (1024,))
    best = (ridge.standardize(x_test, plain.mean, plain.deviation) @ plain.weights).argmax(1)
    assert other.accuracy(torch.cat([x_test, odd], 1), best) > 0.99
