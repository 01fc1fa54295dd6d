"""Figures 3 to 5 of the ViT paper (arXiv 2010.11929): panels of published numbers, and of one's own runs."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitrun.plots.chart import Chart
from vitrun.plots.labels import place_labels
from vitrun.plots.lines import shorten
from vitrun.plots.points import Curve, Panel, Point
from vitrun.plots.style import MARKERS, MUTED, PALETTE, WIDTH, add_legend, series_style, styled, use_log_scale
from vitrun.plots.transfer import cite

HEIGHT = 3.9  # inches of a row of panels
MOST_LABELLED = 40  # points with their names beside them; of more only published ones and the best
BEST_LABELLED = 7


@styled()
def draw_panels(name: str, title: str, xlabel: str, panels: Sequence[Panel], note: str = "") -> Chart:
    """Return a figure of one or more panels over a logarithmic x, with one legend for all."""
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH if columns == 1 else 1.7 * WIDTH, HEIGHT * lines))
    grid = figure.subplots(lines, columns, squeeze=False).flatten().tolist()
    items = [item for panel in panels for item in panel.items]
    names = [*dict.fromkeys(item.family if isinstance(item, Point) else item.label for item in items)]
    for axes, panel in zip(grid, panels):
        axes.set(xlabel=xlabel, ylabel=panel.quantity)
        plot_panel(axes, panel, names)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    share_legend(grid[: len(panels)])
    add_legend(figure, grid[0])
    for axes, panel in zip(grid, panels):  # after the legend, which moves the panels
        label_points(axes, [item for item in panel.items if isinstance(item, Point)])
    rows = tuple(row for panel in panels for row in list_panel_rows(panel))
    header = ("panel", "model", xlabel, "accuracy (%)", "source")
    return Chart(name, title, figure, header, rows, " ".join(filter(None, (note, cite(items)))))


def plot_panel(axes: Axes, panel: Panel, names: Sequence[str]) -> None:
    """Plot curves, or the points of families; one of ``names`` has the same style in all panels."""
    curves = [item for item in panel.items if isinstance(item, Curve)]
    points = [item for item in panel.items if isinstance(item, Point)]
    for curve in curves:
        style = series_style(names.index(curve.label))
        if curve.source:
            style |= {"markerfacecolor": "none", "linewidth": 1.0}
        is_first = all(line.get_label() != curve.label for line in axes.lines)
        axes.plot(curve.x, curve.y, label=shorten(curve.label) if is_first else None, **style)
    for name in dict.fromkeys(point.family for point in points):
        for published in (True, False):
            members = [point for point in points if point.family == name and bool(point.source) == published]
            if members:
                plot_family(axes, members, names.index(name), published)
    ticks = panel.ticks or sorted({x for curve in curves for x in curve.x})
    if ticks:
        axes.set_xlim(min(ticks) / 1.3, max(ticks) * 1.3)
    use_log_scale(axes, "x", ticks)
    if any(len(curve.x) for curve in curves) or points:
        axes.set_ylim(top=min(axes.get_ylim()[1], 100.5))
    else:
        axes.set_ylim(0, 100)
        middle: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, "the paper prints no number", color=MUTED, **middle)


def plot_family(axes: Axes, points: Sequence[Point], index: int, published: bool) -> None:
    """Plot the points of a family, published ones hollow."""
    color = PALETTE[index % len(PALETTE)]
    name = points[0].family or "models"
    axes.plot(
        [point.x for point in points],
        [point.y for point in points],
        linestyle="",
        marker=MARKERS[index % len(MARKERS)],
        color=color,
        markersize=7,
        markerfacecolor="none" if published else color,
        label=f"{name}, published" if published else f"{name}, yours",
    )


def label_points(axes: Axes, points: Sequence[Point]) -> None:
    """Write names beside points: published ones first, then the best, of many only those."""
    published = sum(bool(point.source) for point in points)
    limit = len(points) if len(points) <= MOST_LABELLED else published + BEST_LABELLED
    ranked = sorted(points, key=lambda point: (not point.source, -point.y))
    if ranked:
        place_labels(axes, [(point.x, point.y, shorten(point.label, 24)) for point in ranked], limit)


def share_legend(grid: Sequence[Axes]) -> None:
    """Give the first panel an empty line for each label that only the others have: the legend is made of it."""
    known = set(grid[0].get_legend_handles_labels()[1])
    for axes in grid[1:]:
        for line in axes.lines:
            label = str(line.get_label())
            if label not in known and not label.startswith("_"):
                known.add(label)
                (empty,) = grid[0].plot([], [], label=label)
                empty.update_from(line)


def list_panel_rows(panel: Panel) -> list[tuple[str, str, float, float, str]]:
    """Return the panel, name, x, y and source of each point."""
    rows = []
    for item in panel.items:
        pairs = zip(item.x, item.y) if isinstance(item, Curve) else [(item.x, item.y)]
        rows += [(panel.quantity, item.label, x, y, item.source) for x, y in pairs]
    return rows
