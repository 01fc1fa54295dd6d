"""Predictions on a test set: every image once, correct by any of its labels."""

import numpy as np
import pytest
import torch

from helpers.networks import MODEL_ROWS, build_randomized, make_inputs
from helpers.training import CPU, build_small_vit
from vitrun import data
from vitrun.config import resolve
from vitrun.data.transforms.views import CenterCropView
from vitrun.engine.inference import Predictions, compute_features, predict
from vitrun.errors import ExitCode, UserError
from vitrun.objectives.labels import LOSSES, LabelObjective
from vitrun.runtime.device import Machine


def test_a_prediction_is_correct_if_it_is_among_the_labels():
    top = np.array([[2, 1], [0, 1], [3, 2]])
    predictions = Predictions(np.array([[0, 2], [3, -1], [2, -1]]), np.arange(3), top, np.zeros(3), np.ones((3, 2)))
    assert predictions.accuracy(1) == pytest.approx(1 / 3) and predictions.accuracy(2) == pytest.approx(2 / 3)
    assert Predictions(np.array([2, 1, 0]), np.arange(3), top, np.zeros(3), np.ones((3, 2))).accuracy(
        2
    ) == pytest.approx(2 / 3)


@pytest.mark.parametrize("loss", LOSSES)
def test_probabilities_are_those_of_the_likeliest_classes_as_the_loss_defines_them(loss):
    recipe = resolve.resolve_recipe("pretrain", ["data.test_images=9"]).data
    batches = list(data.test_batches(data.open_split(recipe, "test"), CenterCropView(32), 9))
    network = build_small_vit(120)
    torch.nn.init.normal_(network.head.weight)
    predictions = LabelObjective(loss).evaluate(network, batches, CPU, lambda _: None)["predictions"]
    with torch.inference_mode():
        logits = network(batches[0].images).double()
    expected = torch.softmax(logits, 1) if loss == "softmax" else torch.sigmoid(logits)
    likeliest, classes = expected.topk(5)
    assert np.array_equal(predictions.top_classes, classes)
    assert np.allclose(predictions.probabilities, likeliest, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 7, 50])
def test_every_test_image_counts_exactly_once(size):
    recipe = resolve.resolve_recipe("pretrain", ["data.test_images=37"]).data
    test, network = data.open_split(recipe, "test"), build_small_vit(120)
    predictions = predict(
        network, data.test_batches(test, CenterCropView(32), size), LOSSES["softmax"], CPU, lambda _: None
    )
    assert sorted(predictions.indices) == list(range(37)) and (predictions.labels == test.labels).all()


def test_an_output_that_is_not_finite_is_an_error_that_names_the_image():
    recipe = resolve.resolve_recipe("pretrain", ["data.test_images=8"]).data
    batches = list(data.test_batches(data.open_split(recipe, "test"), CenterCropView(32), 4))
    batches[1].images[2] = float("inf")
    with pytest.raises(UserError, match=f"first of {batches[0].keys[6]}. Try") as error:
        predict(build_small_vit(120), batches, LOSSES["softmax"], CPU, lambda _: None)
    assert error.value.status == ExitCode.NUMERICS


@pytest.mark.parametrize("row, dtype", [("bit_r50x1", "fp32"), ("vit_nano8", "bf16")])
def test_features_of_an_image_have_the_same_bits_whatever_is_computed_with_it(row, dtype):
    network, machine = build_randomized(MODEL_ROWS[row], res=64), Machine("cpu", dtype)
    batch = data.Batch(make_inputs(64, 7), torch.zeros(7, dtype=torch.long), np.arange(7))
    rows = [np.arange(7), np.array([6]), np.array([4, 1, 0])]
    whole, *parts = (
        compute_features(
            network, [data.Batch(batch.images[some], batch.labels[some], some)], machine, lambda images: None, 4
        )
        for some in rows
    )
    for some, part in zip(rows[1:], parts):
        np.testing.assert_array_equal(part, whole[some])
