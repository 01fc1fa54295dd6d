"""Figures of training: loss, learning rate and accuracy by step, and the grid of learning rates."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from vitrun.plots.chart import Chart
from vitrun.plots.lines import list_rows, name_columns, plot_curves, thin
from vitrun.plots.points import Curve
from vitrun.plots.style import FOREGROUND, add_legend, create_axes, styled, use_log_scale

LOG_RANGE = 20  # losses that span more than this factor have a logarithmic axis


@styled()
def draw_loss(curves: Sequence[Curve]) -> Chart:
    """Return the training loss of runs by step."""
    return draw_losses(curves, "training_loss", "Training loss")


@styled()
def draw_evaluation_loss(curves: Sequence[Curve]) -> Chart:
    """Return the loss of evaluations during training, by step."""
    return draw_losses(curves, "evaluation_loss", "Loss of evaluations")


def draw_losses(curves: Sequence[Curve], name: str, title: str) -> Chart:
    """Return losses by step, on a logarithmic axis if they span more than the factor ``LOG_RANGE``."""
    chart = draw_by_step(curves, name, title, "loss (nats)", highest=False)
    values = [row[2] for row in chart.rows if np.isfinite(row[2]) and row[2] > 0]
    if len(values) == len(chart.rows) > 0 and max(values) / min(values) > LOG_RANGE:
        use_log_scale(chart.figure.axes[0], "y")
    return chart


@styled()
def draw_learning_rate(curves: Sequence[Curve]) -> Chart:
    """Return the learning rate of runs by step."""
    return draw_by_step(curves, "learning_rate", "Learning rate", "learning rate")


@styled()
def draw_accuracy(curves: Sequence[Curve], what: str = "accuracy") -> Chart:
    """Return a chart of accuracies, or of ``what`` in percent, measured during training, by step."""
    name = f"training_{what.replace(' ', '_')}"
    return draw_by_step(curves, name, f"{what[0].upper()}{what[1:]} during training", f"{what} (%)")


def draw_by_step(curves: Sequence[Curve], name: str, title: str, ylabel: str, highest: bool = True) -> Chart:
    """Return curves by training step; long ones are thinned, which the note says."""
    shown = thin(curves)
    figure, axes = create_axes("step", ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plot_curves(axes, shown, highest)
    add_legend(figure, axes)
    is_thinned = any(one is not other for one, other in zip(curves, shown))
    note = "Each point is the mean of neighbouring steps." if is_thinned else ""
    return Chart(name, title, figure, name_columns("run", "step", ylabel), list_rows(shown), note)


@styled()
def draw_layer_accuracy(curves: Sequence[Curve]) -> Chart:
    """Return the accuracies in percent of linear probes by the layer whose features they read, 0 for the embedding."""
    figure, axes = create_axes("layer", "accuracy (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plot_curves(axes, curves)
    add_legend(figure, axes)
    columns = name_columns("images", "layer", "accuracy (%)")
    return Chart("layers", "Linear probe of each layer", figure, columns, list_rows(curves))


@styled()
def draw_lr_grid(
    curves: Sequence[Curve], chosen: Sequence[tuple[float, float]] = (), measured: str = "held-out accuracy"
) -> Chart:
    """Return what was ``measured`` in percent of learning rates (table 4), a curve a data set or weight decay.

    A ring marks each ``chosen`` (learning rate, accuracy). A trial that broke down has y = NaN and is drawn as a cross
    at the bottom.
    """
    figure, axes = create_axes("learning rate", f"{measured} (%)")
    plot_curves(axes, curves)
    use_log_scale(axes, "x", sorted({x for curve in curves for x in curve.x}))
    for lr, accuracy in chosen:
        axes.plot([lr], [accuracy], "o", markersize=13, markerfacecolor="none", color=FOREGROUND)
    broken = sorted({x for curve in curves for x, y in zip(curve.x, curve.y) if not np.isfinite(y)})
    if broken:
        low = axes.get_ylim()[0]
        axes.plot(
            broken, [low] * len(broken), marker="x", linestyle="", color=FOREGROUND, label="broke down", clip_on=False
        )
    add_legend(figure, axes)
    rows = tuple((*row, (row[1], row[2]) in {*chosen}) for row in list_rows(curves))
    columns = (*name_columns("run", "learning rate", f"{measured} (%)"), "chosen")
    return Chart("lr_grid", "Learning rates", figure, columns, rows, "Rings mark the rates chosen on held-out images.")
