"""What is counted from predictions equals scikit-learn's, and what a run saves is read back as it was."""

import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from sklearn import calibration, metrics

from vitrun.errors import UserError
from vitrun.runs.classification import (
    calibrate,
    calibrate_table,
    count_by_class,
    count_confusions,
    list_confusions,
    list_surest_mistakes,
)
from vitrun.runs.predictions import PREDICTIONS_FILE, PredictionTable, load_predictions


def make_table(images: int, classes: int, seed: int = 0) -> PredictionTable:
    """Return predictions that are correct about as often as their probability says."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (images, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([rng.choice(classes, p=row) for row in probabilities**1.5 / (probabilities**1.5).sum(1)[:, None]])
    top = np.argsort(-probabilities, 1)[:, :5]
    likeliest = np.take_along_axis(probabilities, top, 1).astype(np.float32)
    losses = -np.log(probabilities[np.arange(images), labels]).astype(np.float32)
    names = tuple(f"class {index} \u5b57" for index in range(classes))
    return PredictionTable([f"{row}.jpg" for row in range(images)], labels, top, likeliest, losses, names)


def reference_ece(confidence: np.ndarray, correct: np.ndarray, bins: int) -> float:
    """Return the ECE from scikit-learn's calibration curve, whose bins are weighed by the images that they hold."""
    confidence = confidence.astype(np.float64)
    accuracy, mean = calibration.calibration_curve(correct, confidence, n_bins=bins, strategy="uniform")
    edges = [index / bins for index in range(bins + 1)]
    counts = [sum(low < value <= high for value in confidence) for low, high in zip(edges, edges[1:])]
    counts[0] += sum(confidence == 0)
    weights = [number / len(confidence) for number in counts if number]
    return sum(weight * abs(a - c) for weight, a, c in zip(weights, accuracy, mean))


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_ece_equals_that_of_scikit_learns_calibration_curve(bins):
    table = make_table(700, 7)
    confidence, correct = table.probabilities[:, 0], table.is_correct
    assert calibrate(confidence, correct, bins).ece == pytest.approx(reference_ece(confidence, correct, bins), abs=1e-9)


def test_a_confidence_on_an_edge_is_of_the_bin_below_and_a_certain_one_of_the_last():
    confidence = np.array([0, 0.5, np.nextafter(0.5, 1), 1, 1])
    measured = calibrate(confidence, np.array([0, 1, 1, 1, 0]), 2)
    assert measured.counts.tolist() == [2, 3]
    assert measured.ece == pytest.approx(2 / 5 * abs(1 / 2 - 0.25) + 3 / 5 * abs(2 / 3 - 2.5 / 3))
    with warnings.catch_warnings(action="error"):
        empty = calibrate(np.array([0.99]), np.array([True]))
    assert np.isnan(empty.accuracy[:-1]).all() and empty.ece == pytest.approx(0.01)


@pytest.mark.parametrize("images, classes", [(50, 2), (700, 7), (3, 30)])
def test_confusions_equal_scikit_learns(images, classes):
    table = make_table(images, classes)
    predicted = table.top_classes[:, 0]
    expected = metrics.confusion_matrix(table.labels, predicted, labels=range(classes))
    assert np.array_equal(count_confusions(table), expected)
    counts, correct = count_by_class(table)
    assert np.array_equal(counts, expected.sum(1)) and np.array_equal(correct, expected.diagonal())
    wrong = np.where(np.eye(classes), 0, expected)
    pairs = list_confusions(table, 5)
    assert [pair.images for pair in pairs] == [number for number in np.sort(wrong.ravel())[::-1][:5] if number]
    for pair in pairs:
        assert pair.images == wrong[pair.label, pair.prediction]
        assert pair.share == pair.images / expected[pair.label].sum()


def test_the_surest_mistakes_are_those_of_the_highest_probability():
    table = make_table(300, 7)
    mistakes = list_surest_mistakes(table, 4)
    wrong = [row for row in range(300) if table.top_classes[row, 0] != table.labels[row]]
    rows = sorted(wrong, key=lambda row: -table.probabilities[row, 0])[:4]
    assert [mistake.key for mistake in mistakes] == [f"{row}.jpg" for row in rows]
    assert (mistakes[0].label, mistakes[0].prediction) == (table.labels[rows[0]], table.top_classes[rows[0], 0])


@pytest.mark.parametrize("kind", ["one label", "several labels", "others accepted"])
def test_predictions_are_read_back_as_they_were_written(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder := Path("runs:a")).mkdir()  # no address, whatever libraries make of the colon
    table = make_table(20, 3)
    padded = np.where(np.arange(20)[:, None] % 3 == 0, -1, np.stack([table.labels, np.full(20, -1)], 1))
    padded[1, 1] = 0
    changes = {"several labels": {"labels": padded}, "others accepted": {"accepted": padded}}.get(kind, {})
    table = PredictionTable(**{**table.__dict__, **changes})
    table.write(folder / PREDICTIONS_FILE)
    again = load_predictions(folder)
    assert again and table.__dict__.keys() == again.__dict__.keys()
    for name, value in table.__dict__.items():
        assert np.array_equal(value, getattr(again, name)) if value is not None else getattr(again, name) is None, name
    assert again.has_single_labels == (kind == "one label")
    counted = (again.correct_labels >= 0).any(1)
    assert calibrate_table(again).counts.sum() == counted.sum() == (20 if kind == "one label" else 13)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"classes": ("one",)}, "its labels are none of its classes"),
        ({"top_classes": np.full((20, 3), -1)}, "its labels are none of its classes"),
        ({"probabilities": np.full((20, 3), np.nan)}, "its probabilities are not between 0 and 1"),
        ({"probabilities": np.full((20, 2), 0.5)}, "its columns do not belong together"),
    ],
)
def test_damaged_predictions_are_named_with_the_way_out(changes, sentence, tmp_path):
    table = PredictionTable(**{**make_table(20, 3).__dict__, **changes})
    table.write(tmp_path / PREDICTIONS_FILE)
    with pytest.raises(UserError, match=rf"preds\.parquet is damaged.*{sentence}.*vitrun eval init="):
        load_predictions(tmp_path)


def test_a_table_of_another_program_is_refused_and_a_run_without_predictions_has_none(tmp_path):
    assert load_predictions(tmp_path) is None
    (tmp_path / PREDICTIONS_FILE).write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"preds\.parquet is damaged"):
        load_predictions(tmp_path)
    pyarrow.parquet.write_table(pyarrow.table({"id": ["a"]}), tmp_path / PREDICTIONS_FILE)
    with pytest.raises(UserError, match="it does not name its classes"):
        load_predictions(tmp_path)
