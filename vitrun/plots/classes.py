"""Figures of a network's answers: accuracy or AP by class, confusion matrix, reliability diagram."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure

from vitrun.plots.chart import Chart
from vitrun.plots.lines import shorten
from vitrun.plots.style import FOREGROUND, HUES, MUTED, WIDTH, add_legend, create_axes, styled

MOST_BARS = 40  # classes with a bar each; of more, the worst and the best have one
EXTREMES = 12
MOST_NUMBERS = 20  # classes of a confusion matrix with a number in each cell
MOST_NAMES = 60  # classes of a confusion matrix with their names on its axes
MOST_CELLS = 250  # a side of a confusion matrix: more than a screen shows
CLASS_NAME = 24  # characters
FAINTEST = 0.1  # opacity of the smallest share


def draw_class_accuracy(counts: np.ndarray, correct: np.ndarray, names: Sequence[str]) -> Chart:
    """Return the accuracy of each class, worst first: of its images, ``counts`` [C], how many are ``correct`` [C].

    Of more than 40 classes the twelve worst and best have a bar, beside the accuracies of all in their order.
    """
    accuracy = 100 * np.divide(correct, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    mean = float(100 * correct.sum() / max(1, counts.sum()))
    return draw_by_class("accuracy", accuracy, (counts, "images"), names, f"all images: {mean:.2f} %", mean)


def draw_class_ap(counts: np.ndarray, ap: np.ndarray, names: Sequence[str]) -> Chart:
    """Return COCO's average precision of each class, worst first: ``ap`` [C], a share, of ``counts`` [C] objects.

    Classes are drawn as by :func:`draw_class_accuracy`.
    """
    mean = float(100 * ap[counts > 0].mean()) if counts.any() else 0.0
    return draw_by_class("AP", 100 * ap, (counts, "objects"), names, f"mean: {mean:.2f} %", mean)


@styled()
def draw_by_class(
    quantity: str,
    values: np.ndarray,
    counted: tuple[np.ndarray, str],
    names: Sequence[str],
    label: str,
    mean: float,
) -> Chart:
    """Return a chart of a percentage for each class with a count above 0, with a line at the mean."""
    counts, what = counted
    order = [row for row in np.lexsort((np.arange(len(names)), values)).tolist() if counts[row]]
    if len(order) <= MOST_BARS:
        figure, axes = create_axes(f"{quantity} (%)", "", (WIDTH, 1.4 + 0.2 * len(order)))
        plot_bars(axes, order, values, counts, names)
    else:
        figure = draw_many_classes(quantity, order, values, counts, names)
        axes = figure.axes[0]
    axes.axvline(mean, color=FOREGROUND, linewidth=1, linestyle="--", label=label)
    add_legend(figure, axes)
    rows = tuple((names[row], row, int(counts[row]), float(values[row])) for row in order)
    absent = len(names) - len(order)
    note = f"Left out for want of test {what}: {absent:,} of {len(names):,} classes." if absent else ""
    columns = ("class", "index", what, f"{quantity} (%)")
    return Chart(
        f"class_{quantity.lower()}", f"{quantity[0].upper()}{quantity[1:]} by class", figure, columns, rows, note
    )


def plot_bars(
    axes: Axes, order: Sequence[int], values: np.ndarray, counts: np.ndarray, names: Sequence[str], gap: int = 0
) -> None:
    """Plot a bar for each class of ``order`` with its name and number of images; free lines before number ``gap``."""
    heights = [place + (2 if gap and place >= gap else 0) for place in range(len(order))]
    axes.barh(heights, values[[*order]], color=HUES[0], height=0.75)
    axes.set_yticks(heights, [f"{shorten(names[row], CLASS_NAME)} ({counts[row]:,})" for row in order])
    axes.set_xlim(0, 100)
    axes.set_ylim(max(heights, default=0) + 0.7, -0.7)
    axes.grid(False, axis="y")


def draw_many_classes(
    quantity: str, order: Sequence[int], values: np.ndarray, counts: np.ndarray, names: Sequence[str]
) -> Figure:
    """Return bars of the worst and best classes beside the values of all classes in their order."""
    figure = Figure(figsize=(WIDTH * 1.35, 6.2))
    bars, curve = figure.subplots(1, 2, width_ratios=(1.15, 1))
    plot_bars(bars, [*order[:EXTREMES], *order[-EXTREMES:]], values, counts, names, EXTREMES)
    bars.set(xlabel=f"{quantity} (%)", title=f"{EXTREMES} worst and {EXTREMES} best classes")
    curve.plot(np.arange(1, len(order) + 1), values[[*order]], color=HUES[0])
    curve.fill_between(np.arange(1, len(order) + 1), values[[*order]], color=HUES[0], alpha=0.15, linewidth=0)
    curve.set(
        xlabel="classes, worst first", ylabel=f"{quantity} (%)", title=f"all {len(order):,} classes", ylim=(0, 101)
    )
    curve.set_xlim(1, len(order))
    return figure


@styled()
def draw_confusion(matrix: np.ndarray, names: Sequence[str]) -> Chart:
    """Return a confusion matrix [C, C] of counts (rows: labels, columns: predictions) as shares of each label's images.

    Correct answers are blue, wrong ones orange. Cells have numbers for up to 20 classes, axes have names for up to 60.
    A matrix of more than 250 classes is shown by the highest share of each block of neighbouring classes, so that a
    single confusion stays visible.
    """
    totals = matrix.sum(1, keepdims=True)
    shares = 100 * np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    block = -(-len(names) // MOST_CELLS)
    labels = [shorten(name, CLASS_NAME) for name in names] if len(names) <= MOST_NAMES else []
    side, margin = min(6.0, max(2.2, 0.42 * len(names))), 0.6 + 0.075 * max(map(len, labels), default=4)
    unit = "" if labels else " (index of the class)"
    figure, axes = create_axes(f"prediction{unit}", f"label{unit}", (side + margin + 1.9, side + margin))
    figure.set_layout_engine("compressed")  # the cells are squares
    axes.grid(False)
    on_diagonal = np.eye(len(names), dtype=bool)
    plot_shares(axes, np.where(on_diagonal, 0, shares), block, HUES[1], "wrong (%)")
    plot_shares(axes, np.where(on_diagonal, shares, 0), block, HUES[0], "correct (%)")
    if labels:
        size = 9 if len(names) <= MOST_NUMBERS else 6
        axes.set_xticks(range(len(names)), labels, rotation=90 if max(map(len, labels)) > 2 else 0, fontsize=size)
        axes.set_yticks(range(len(names)), labels, fontsize=size)
    if len(names) <= MOST_NUMBERS:
        write_counts(axes, matrix, shares)
    rows = tuple(
        (names[label], names[answer], int(matrix[label, answer]), float(shares[label, answer]))
        for label, answer in zip(*(axis.tolist() for axis in np.nonzero(matrix)))
    )
    note = f"Each cell is the highest share of {block} x {block} neighbouring classes." if block > 1 else ""
    columns = ("label", "prediction", "images", "share of the label's images (%)")
    return Chart("confusion", "Confusion matrix", figure, columns, rows, note)


def plot_shares(axes: Axes, shares: np.ndarray, block: int, color: str, label: str) -> None:
    """Plot cells that are not 0 in a colour that is the more opaque the higher the share, with its scale."""
    shown = pool_highest(shares, block)
    colors = LinearSegmentedColormap.from_list(label, [to_rgba(color, FAINTEST), to_rgba(color)])
    edge = len(shares) - 0.5
    image = axes.imshow(
        np.ma.masked_equal(shown, 0),
        cmap=colors,
        vmin=0,
        vmax=max(1.0, float(shown.max())),
        interpolation="none",
        extent=(-0.5, shown.shape[1] * block - 0.5, shown.shape[0] * block - 0.5, -0.5),
    )
    axes.set(xlim=(-0.5, edge), ylim=(edge, -0.5))
    figure = axes.get_figure(root=True)
    assert figure
    figure.colorbar(image, ax=axes, shrink=0.85, aspect=24, label=label)


def pool_highest(matrix: np.ndarray, block: int) -> np.ndarray:
    """Return the highest value of each block of ``block`` x ``block`` cells; the last blocks may be smaller."""
    missing = -len(matrix) % block
    padded = np.pad(matrix, ((0, missing), (0, missing)))
    side = len(padded) // block
    return padded.reshape(side, block, side, block).max((1, 3))


def write_counts(axes: Axes, matrix: np.ndarray, shares: np.ndarray) -> None:
    """Write the number of images into each cell that has any, in white where the cell is dark."""
    size = 9 if len(matrix) <= 12 else 7
    highest = {True: shares.diagonal().max(), False: np.where(np.eye(len(matrix)), 0, shares).max()}
    for (label, answer), count in np.ndenumerate(matrix):
        if count:
            is_dark = shares[label, answer] > 0.6 * highest[label == answer]
            color = "#ffffff" if is_dark else FOREGROUND
            axes.text(answer, label, f"{count:,}", ha="center", va="center", color=color, fontsize=size)


@styled()
def draw_reliability(counts: np.ndarray, accuracy: np.ndarray, confidence: np.ndarray, ece: float) -> Chart:
    """Return the reliability diagram of calibration bins over confidence 0 to 1, each of the same width.

    ``counts`` [M] images a bin, their ``accuracy`` and mean ``confidence`` [M] as shares (NaN in an empty bin), and the
    expected calibration error ``ece``.
    """
    edges = np.linspace(0, 100, len(counts) + 1)
    figure = Figure(figsize=(5.2, 5.6))
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    width = 100 / len(counts)
    filled = counts > 0
    middles = (edges[:-1] + width / 2)[filled]
    axes.bar(middles, 100 * accuracy[filled], 0.94 * width, color=HUES[0], label="accuracy of the bin")
    axes.plot(100 * confidence[filled], 100 * accuracy[filled], "o", color=HUES[1], label="at its mean confidence")
    axes.plot([0, 100], [0, 100], "--", color=FOREGROUND, linewidth=1, label="perfectly calibrated")
    axes.set(ylabel="accuracy (%)", xlim=(0, 100), ylim=(0, 100), title=f"ECE {100 * ece:.2f} %")
    below.bar(edges[:-1], 100 * counts / max(1, counts.sum()), width, align="edge", color=MUTED, linewidth=0)
    below.set(xlabel="confidence: probability of the predicted class (%)", ylabel="images (%)")
    add_legend(figure, axes)
    rows = tuple(
        (low, high, int(count), *(100 * float(value) if count else None for value in pair))
        for low, high, count, pair in zip(edges[:-1].tolist(), edges[1:].tolist(), counts, zip(accuracy, confidence))
    )
    columns = ("confidence above (%)", "up to (%)", "images", "accuracy (%)", "mean confidence (%)")
    note = (
        f"Expected calibration error over {len(counts)} bins of the same width (arXiv 1706.04599, equation 3): "
        f"{100 * ece:.2f} %."
    )
    return Chart("reliability", "Reliability diagram", figure, columns, rows, note)
