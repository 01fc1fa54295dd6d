"""Figures of a data set: images of each class, and widths and heights of images."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitrun.plots.chart import Chart
from vitrun.plots.classes import CLASS_NAME, EXTREMES, MOST_BARS
from vitrun.plots.lines import shorten
from vitrun.plots.style import HUES, MARKERS, WIDTH, add_legend, create_axes, styled, use_log_scale

MOST_SIZES = 400  # points of a part; of more sizes those that differ by less than ``SAME_SIZE`` share one
SAME_SIZE = 1.05  # ratio of two sides that are drawn as one
SMALLEST_POINT, LARGEST_POINT = 10, 220  # area in square points
WIDE_RANGE = 4  # largest by smallest side, or number of images, from which axes are logarithmic


@styled()
def draw_class_counts(counts: Mapping[str, np.ndarray], names: Sequence[str]) -> Chart:
    """Return the images of each class, ``counts`` [C] of each part, most first by the first part.

    Of more than 40 classes the twelve with most and least have bars, beside the curves of all classes.
    """
    order = np.argsort(-next(iter(counts.values())), kind="stable").tolist()
    if len(order) <= MOST_BARS:
        figure, axes = create_axes("images", "", (WIDTH, 1.2 + (0.12 + 0.14 * len(counts)) * len(order)))
        plot_bars(axes, order, counts, names)
    else:
        figure = Figure(figsize=(WIDTH * 1.35, 6.6))
        axes, curve = figure.subplots(1, 2, width_ratios=(1.15, 1))
        plot_bars(axes, [*order[:EXTREMES], *order[-EXTREMES:]], counts, names, EXTREMES)
        axes.set(xlabel="images", title=f"{EXTREMES} largest and {EXTREMES} smallest")
        plot_curves(curve, counts)
    add_legend(figure, axes)
    rows = tuple((names[row], *(int(numbers[row]) for numbers in counts.values())) for row in order)
    columns = ("class", *(f"{part} images" for part in counts))
    return Chart("class_counts", "Images of each class", figure, columns, rows)


def plot_bars(
    axes: Axes, order: Sequence[int], counts: Mapping[str, np.ndarray], names: Sequence[str], gap: int = 0
) -> None:
    """Plot a bar for each class of ``order`` and part; free lines before number ``gap``."""
    places = np.array([place + (2 if gap and place >= gap else 0) for place in range(len(order))])
    height = 0.8 / len(counts)
    for index, (part, numbers) in enumerate(counts.items()):
        shift = (index - (len(counts) - 1) / 2) * height
        axes.barh(places + shift, numbers[[*order]], height, color=HUES[index % len(HUES)], label=part)
    axes.set_yticks(places, [shorten(names[row], CLASS_NAME) for row in order])
    axes.set_ylim(max(places, default=0) + 0.7, -0.7)
    axes.grid(False, axis="y")


def plot_curves(axes: Axes, counts: Mapping[str, np.ndarray]) -> None:
    """Plot the images of all classes of each part, most first."""
    for index, numbers in enumerate(counts.values()):
        ordered = np.sort(numbers)[::-1]
        axes.plot(np.arange(1, len(ordered) + 1), ordered, color=HUES[index % len(HUES)])
    axes.set(xlabel="classes, largest first", ylabel="images", title=f"all {len(ordered):,} classes")
    axes.set_xlim(1, len(ordered))
    every = np.concatenate([*counts.values()])
    if every.min() and every.max() > WIDE_RANGE * every.min():
        use_log_scale(axes, "y")
    else:
        axes.set_ylim(0)


@styled()
def draw_sizes(sizes: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Chart:
    """Return widths by heights of the images of each part, [S] and [S] in pixels; a larger point is more images."""
    figure, axes = create_axes("width (px)", "height (px)")
    rows: list[tuple[str, int, int, int]] = []
    sides = np.concatenate([side for pair in sizes.values() for side in pair])
    note = "A larger point is more images."
    for index, (part, (widths, heights)) in enumerate(sizes.items()):
        counts = Counter(zip(widths.tolist(), heights.tolist()))
        rows += [(part, *size, number) for size, number in sorted(counts.items())]
        if len(counts) > MOST_SIZES:
            counts = Counter(zip(round_sides(widths).tolist(), round_sides(heights).tolist()))
            note = f"A larger point is more images; sides that differ by up to {SAME_SIZE - 1:.0%} share one."
        x, y = zip(*counts)
        shares = np.sqrt(np.array([*counts.values()]) / max(counts.values()))
        areas = SMALLEST_POINT + (LARGEST_POINT - SMALLEST_POINT) * shares
        color, marker = HUES[index % len(HUES)], MARKERS[index % len(MARKERS)]
        axes.scatter(x, y, areas, color=color, marker=marker, alpha=0.5, linewidths=0, label=part)
    if sides.max() > WIDE_RANGE * sides.min():
        use_log_scale(axes, "x")
        use_log_scale(axes, "y")
    add_legend(figure, axes)
    columns = ("part", "width (px)", "height (px)", "images")
    return Chart("image_sizes", "Sizes of images", figure, columns, tuple(rows), note)


def round_sides(sides: np.ndarray) -> np.ndarray:
    """Return sides rounded to powers of ``SAME_SIZE``."""
    return np.rint(SAME_SIZE ** np.rint(np.log(sides) / np.log(SAME_SIZE))).astype(np.int64)
