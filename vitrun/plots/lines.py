"""Curves on one pair of axes: a few with names and markers, or many of which the best have names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from vitrun.plots.points import Curve
from vitrun.plots.style import MUTED, series_style

MOST_NAMED = 10  # curves that a reader can tell apart; of more, the best few are named
BEST_NAMED = 7
MOST_POINTS = 400  # of a curve: more than a figure can show
ALL_POINTS = 4000  # of all curves of a figure, but for the fewest that each has
FEWEST_POINTS = 30
MOST_MARKERS = 20
LONGEST_LABEL = 48


def plot_curves(axes: Axes, curves: Sequence[Curve], highest: bool = True) -> None:
    """Plot curves: up to ten each in its style, else the seven best (by their last value) over all others in grey."""
    named = rank_curves(curves, highest) if len(curves) > MOST_NAMED else [*curves]
    others = [curve for curve in curves if not any(curve is one for one in named)]
    for index, curve in enumerate(others):
        marker = "." if len(curve.x) == 1 else ""
        label = "" if index else f"{len(others)} others"
        axes.plot(curve.x, curve.y, color=MUTED, marker=marker, linewidth=0.7, zorder=1, label=label)
    for index, curve in enumerate(named):
        style = series_style(index)
        if len(curve.x) > MOST_MARKERS:
            style["marker"] = ""
        if curve.source:
            style |= {"markerfacecolor": "none", "linewidth": 1.0}
        axes.plot(curve.x, curve.y, label=shorten(curve.label), **style)
        if curve.ci95 is not None:
            plot_interval(axes, curve, style["color"])


def plot_interval(axes: Axes, curve: Curve, color: str) -> None:
    """Plot the 95 % intervals of a curve as a band, and as bars at its points."""
    y, half = np.asarray(curve.y, float), np.asarray(curve.ci95, float)
    axes.fill_between(curve.x, y - half, y + half, color=color, alpha=0.15, linewidth=0)
    axes.errorbar(curve.x, y, half, fmt="none", ecolor=color, elinewidth=0.9, capsize=2.5)


def rank_curves(curves: Sequence[Curve], highest: bool) -> list[Curve]:
    """Return the curves with the best last values, best first; one that is not finite is the worst."""

    def badness(curve: Curve) -> float:
        last = curve.y[-1] if len(curve.y) else np.nan
        return -last if highest and np.isfinite(last) else last if np.isfinite(last) else np.inf

    return sorted(curves, key=badness)[:BEST_NAMED]


def thin(curves: Sequence[Curve]) -> list[Curve]:
    """Return curves of at most ``MOST_POINTS`` points, fewer the more curves there are.

    Each point is the mean of as many neighbours, at their mean x.
    """
    limit = min(MOST_POINTS, max(FEWEST_POINTS, ALL_POINTS // max(1, len(curves))))
    return [curve if len(curve.x) <= limit else average_neighbours(curve, limit) for curve in curves]


def average_neighbours(curve: Curve, number: int) -> Curve:
    """Return a curve of ``number`` points, each the mean of neighbours; the interval is left out."""
    starts = np.linspace(0, len(curve.x), number, endpoint=False).astype(int)
    sizes = np.diff([*starts, len(curve.x)])
    x, y = (np.add.reduceat(np.asarray(values, float), starts) / sizes for values in (curve.x, curve.y))
    return Curve(curve.label, x.tolist(), y.tolist(), None, curve.source)


def list_rows(curves: Sequence[Curve]) -> tuple[tuple[Any, ...], ...]:
    """Return the points of all curves as rows: label, x, y, half the 95 % interval or None, source."""
    rows = []
    for curve in curves:
        halves = [None] * len(curve.x) if curve.ci95 is None else curve.ci95
        rows += [(curve.label, x, y, half, curve.source) for x, y, half in zip(curve.x, curve.y, halves)]
    return tuple(rows)


def name_columns(label: str, x: str, y: str) -> tuple[str, ...]:
    """Return the columns of :func:`list_rows`."""
    return (label, x, y, "half of 95 % interval", "source")


def shorten(text: str, length: int = LONGEST_LABEL) -> str:
    """Return a text of at most ``length`` characters, the middle of a longer one left out."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[-tail:]}"
