"""Every figure has its numbers as rows, its axes have their units, and any number of runs and classes is readable."""

import numpy as np
import pytest
from matplotlib.text import Text

from vitrun.plots import classes, paper, training, transfer
from vitrun.plots.chart import to_svg
from vitrun.plots.lines import ALL_POINTS, BEST_NAMED, MOST_NAMED
from vitrun.plots.points import Curve, Panel, Point, Scores

GROUPS = {"natural": ["VTAB SVHN", "VTAB Pets"], "structured": ["VTAB DMLab"]}


pytestmark = pytest.mark.filterwarnings("error")


def texts(figure) -> set[str]:
    """Return the labels of a figure's axes and of its legend."""
    labels = {label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel())}
    return labels | {text.get_text() for legend in figure.legends for text in legend.get_texts()}


def curves(number: int, points: int = 5) -> list[Curve]:
    """Return curves of which the last has the highest values."""
    return [
        Curve(f"run {index}", range(1, points + 1), np.linspace(0, index, points).tolist()) for index in range(number)
    ]


@pytest.mark.parametrize(
    "draw, labels",
    [
        (training.draw_loss, {"step", "loss (nats)"}),
        (training.draw_learning_rate, {"step", "learning rate"}),
        (training.draw_accuracy, {"step", "accuracy (%)"}),
        (training.draw_lr_grid, {"learning rate", "held-out accuracy (%)"}),
        (transfer.draw_few_shot, {"shots (images a class)", "accuracy (%)"}),
    ],
)
def test_curves_have_their_numbers_as_rows_and_units_on_their_axes(draw, labels):
    chart = draw(curves(2))
    assert texts(chart.figure) == {*labels, "run 0", "run 1"}
    assert [row[:3] for row in chart.rows] == [
        (curve.label, x, y) for curve in curves(2) for x, y in zip(curve.x, curve.y)
    ]
    assert all(len(row) == len(chart.columns) for row in chart.rows)


def test_of_many_runs_the_best_are_named_and_all_are_in_the_data():
    chart = training.draw_accuracy(curves(MOST_NAMED + 40))
    named = texts(chart.figure) - {"step", "accuracy (%)"}
    assert named == {f"{MOST_NAMED + 40 - BEST_NAMED} others", *(f"run {index}" for index in range(43, 50))}
    assert len({row[0] for row in chart.rows}) == MOST_NAMED + 40
    lowest = texts(training.draw_loss(curves(MOST_NAMED + 1)).figure)
    assert "run 0" in lowest and "run 10" not in lowest, "the best loss is the lowest"


def test_long_curves_are_thinned_by_means_however_many_there_are():
    long = [Curve(f"run {index}", range(3000), np.arange(3000.0)) for index in range(300)]
    chart = training.draw_loss(long)
    assert len(chart.rows) <= 3 * ALL_POINTS and chart.note
    assert np.mean([row[2] for row in chart.rows]) == pytest.approx(1499.5)
    assert len(to_svg(chart.figure)) < 400_000


def test_a_rate_at_which_training_broke_down_and_the_chosen_one_are_marked():
    chart = training.draw_lr_grid([Curve("dtd", [0.003, 0.01, 0.03], [50, 60, float("nan")])], [(0.01, 60)])
    assert "broke down" in texts(chart.figure)
    assert [row[-1] for row in chart.rows] == [False, True, False]


def test_published_points_have_their_source():
    points = [Point("B/32", 55, 80.73, "ViT", "table 6"), Point("mine", 1, 70, "ViT")]
    chart = paper.draw_panels("figure5", "Figure 5", "exaFLOPs", [Panel("top-1 (%)", points)], "A note.")
    assert {"ViT, published", "ViT, yours", "exaFLOPs", "top-1 (%)"} == texts(chart.figure)
    assert chart.rows == (("top-1 (%)", "B/32", 55, 80.73, "table 6"), ("top-1 (%)", "mine", 1, 70, ""))
    assert chart.note == "A note. Hollow markers are published numbers: table 6."


def test_panels_share_one_legend_and_one_without_numbers_says_so():
    panels = [Panel("a (%)", []), Panel("b (%)", [Curve("B/16", [1.3e6, 303e6], [77.9, 84.2], None, "table 5")])]
    chart = paper.draw_panels("figure3", "Figure 3", "pretraining images", panels)
    empty, filled = chart.figure.axes
    assert [text.get_text() for text in empty.texts] == ["the paper prints no number"] and not filled.texts
    assert [tick.get_text() for tick in filled.get_xticklabels()] == ["1.3 M", "303 M"]
    assert texts(chart.figure) == {"pretraining images", "a (%)", "b (%)", "B/16"}


def test_names_beside_points_cover_no_other_name_and_published_ones_come_first():
    points = [Point(f"run {index}", 10 + index % 9, 50 + index % 30, "ViT") for index in range(60)]
    panels = [Panel("top-1 (%)", [*points, Point("H/14", 4262, 88.08, "ViT", "table 6")])] * 2
    figure = paper.draw_panels("figure5", "Figure 5", "exaFLOPs", panels).figure
    for axes in figure.axes:
        names = [text for text in axes.texts if text.get_text()]
        boxes = [Text.get_window_extent(text) for text in names]  # without the lines to their points
        assert "H/14" in [text.get_text() for text in names] and len(names) <= 1 + paper.BEST_LABELLED
        assert not any(one.overlaps(other) for index, one in enumerate(boxes) for other in boxes[:index])


@pytest.mark.parametrize("number", [1, 50])
def test_vtab_has_the_mean_of_each_group_that_is_whole(number):
    models = [Scores(f"run {index}", {"VTAB SVHN": 80, "VTAB Pets": 90}) for index in range(number)]
    chart = transfer.draw_vtab([Scores("H/14", {"VTAB SVHN": 88.9, "VTAB DMLab": 53.1}, "table 9"), *models], GROUPS)
    assert ("natural", "mean of 2", "run 0", 85.0, "") in chart.rows
    assert ("structured", "mean of 1", "H/14", 53.1, "table 9") in chart.rows
    assert not [row for row in chart.rows if row[:3] == ("natural", "mean of 2", "H/14")]
    assert "H/14" in texts(chart.figure) and ("range and middle half of 44 others" in texts(chart.figure)) == (
        number == 50
    )


@pytest.mark.parametrize("number", [1, 2, 10, 100, 1000])
def test_classes_of_any_number_are_drawn_with_all_their_counts(number):
    names = [f"class {index}" for index in range(number)]
    matrix = 3 * np.eye(number, dtype=int)
    matrix[0, -1] += 1
    chart = classes.draw_confusion(matrix, names)
    assert sum(row[2] for row in chart.rows) == matrix.sum()
    assert (names[0], names[-1], matrix[0, -1], pytest.approx(100 if number == 1 else 25)) in chart.rows
    numbers = [text.get_text() for text in chart.figure.axes[0].texts]
    assert bool(numbers) == (number <= classes.MOST_NUMBERS)
    shown = chart.figure.axes[0].images[0].get_array()
    assert number == 1 or shown.max() == 25, "the one confusion is visible"
    chart = classes.draw_class_accuracy(matrix.sum(1), matrix.diagonal(), names)
    assert len(chart.rows) == number and chart.rows[0] == (
        "class 0",
        0,
        matrix[0].sum(),
        pytest.approx(100 * matrix[0, 0] / matrix[0].sum()),
    )
    assert "accuracy (%)" in texts(chart.figure)


def test_a_class_without_images_is_left_out_and_named_so():
    chart = classes.draw_class_accuracy(np.array([2, 0]), np.array([2, 0]), ["cat", "dog"])
    assert chart.rows == (("cat", 0, 2, 100.0),) and "1 of 2 classes" in chart.note
    classes.draw_confusion(np.zeros((2, 2), int), ["cat", "dog"])


def test_the_reliability_diagram_has_each_bin():
    counts = np.array([0, 4, 6])
    accuracy, confidence = np.array([np.nan, 0.25, 0.5]), np.array([np.nan, 0.5, 0.9])
    chart = classes.draw_reliability(counts, accuracy, confidence, 0.34)
    assert chart.rows[0][2:] == (0, None, None) and chart.rows[2][2:] == (6, 50.0, 90.0)
    assert {"accuracy (%)", "images (%)", "perfectly calibrated"} <= texts(chart.figure) and "34.00 %" in chart.note
