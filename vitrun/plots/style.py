"""Style of all figures: sizes, fonts, and colours that people with any colour vision can tell apart."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

FOREGROUND = "#1f2328"  # text and axes; not black, which matplotlib leaves out of an SVG
# Okabe and Ito, "Color Universal Design", https://jfly.uni-koeln.de/color/, without yellow, which is pale on white;
# their black is the foreground
HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
PALETTE = (*HUES, FOREGROUND)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # series differ in their markers too, for print without colour
MUTED = "#8c959f"  # what stays in the background, such as chance level
GRID = "#d8dee4"
SEQUENTIAL = "cividis"  # colour map of quantities on which nothing is written
WIDTH, HEIGHT = 6.4, 3.9  # inches, without a legend
LEGEND_LINE = 0.19  # inches
TICK_SPACE = 0.12  # of an axis, between the middles of two labels
MOST_TICKS = 8  # of a logarithmic axis that are labelled with their own numbers

RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # matplotlib brings it: the same layout everywhere
    "font.size": 10,
    "text.color": FOREGROUND,
    "text.parse_math": False,  # a class may be called "$5"
    "axes.edgecolor": FOREGROUND,
    "axes.labelcolor": FOREGROUND,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": f"cycler(color={list(PALETTE)})",
    "axes.titlesize": 11,
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
    "xtick.color": FOREGROUND,
    "ytick.color": FOREGROUND,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "svg.fonttype": "none",  # text stays text
}

DARK_HUES = ("#4aa3df", "#f0813a", "#2fc39a", "#e09cc2", "#f0b429", "#8ccdf2")  # the same, brighter


def name_colors(grid: str, muted: str, hues: tuple[str, ...]) -> dict[str, str]:
    """Return the colours of a theme by name."""
    return {"grid": grid, "muted": muted} | {str(index): color for index, color in enumerate(hues)}


LIGHT = name_colors(GRID, MUTED, HUES)
DARK = name_colors("#30363d", "#768390", DARK_HUES)


def define_colors(colors: dict[str, str]) -> str:
    """Return CSS variables ``--plot-NAME`` for an element's style."""
    return "".join(f"--plot-{name}:{color};" for name, color in colors.items())


# What a page or an SVG file defines so that figures follow its theme; text and axes have the colour of its text
THEME_CSS = f":root{{{define_colors(LIGHT)}}}@media (prefers-color-scheme:dark){{:root{{{define_colors(DARK)}}}}}"
# Colours of the style, and what stands for each in an SVG
THEME_COLORS = {color: f"var(--plot-{name}, {color})" for name, color in LIGHT.items()} | {FOREGROUND: "currentColor"}


@contextmanager
def styled(**options: Any) -> Iterator[None]:
    """Draw in the style, whatever the user's matplotlibrc says; ``options`` change it. Also a decorator."""
    with matplotlib.style.context(["default", {**RC, **options}]):
        yield


def create_axes(xlabel: str, ylabel: str, size: tuple[float, float] = (WIDTH, HEIGHT)) -> tuple[Figure, Axes]:
    """Return a figure of ``size`` inches with one pair of axes, whose labels end with a unit, as in ``"top-1 (%)"``.

    Call it, and all that draws on the axes, within :func:`styled`.
    """
    figure = Figure(figsize=size)
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def add_legend(figure: Figure, axes: Axes) -> None:
    """Place the legend of ``axes`` under the figure, which grows by it, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        fitting = max(1, int(figure.get_figwidth() * 12 / (max(map(len, labels)) + 8)))
        columns = min(fitting, len(labels))
        figure.set_figheight(figure.get_figheight() + LEGEND_LINE * -(-len(labels) // columns))
        figure.legend(handles, labels, loc="outside lower left", ncols=columns)


def use_log_scale(axes: Axes, name: Literal["x", "y"], ticks: Sequence[float] = ()) -> None:
    """Make an axis logarithmic, with plain numbers: at ``ticks`` if they are few, else at powers of ten, or 1, 2, 5.

    ``ticks`` are in order; of those whose labels would touch the last is labelled.
    """
    (axes.set_xscale if name == "x" else axes.set_yscale)("log")
    axis: Axis = axes.xaxis if name == "x" else axes.yaxis
    if 0 < len(ticks) <= MOST_TICKS:
        shown = spread_ticks(ticks)
        axis.set_ticks(shown, [format_number(tick) for tick in shown])
        axis.set_ticks([], minor=True)
        return
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value)))
    axis.set_minor_formatter(NullFormatter())


def spread_ticks(ticks: Sequence[float]) -> list[float]:
    """Return the ticks of a logarithmic axis whose labels do not touch."""
    spread: list[float] = []
    for tick in reversed(ticks):
        if not spread or math.log(spread[-1] / tick) > TICK_SPACE * math.log(ticks[-1] / ticks[0]):
            spread.append(tick)
    return spread[::-1]


def format_number(value: float) -> str:
    """Return a number of up to three digits with its thousands, as in 0.003, 1,500, 14 M and 303 M."""
    for factor, unit in ((1e9, " G"), (1e6, " M")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def series_style(index: int) -> dict[str, Any]:
    """Return the colour, marker and line of a series; more series than colours differ in their lines."""
    lines = ("-", "--", ":", "-.")
    return {
        "color": PALETTE[index % len(PALETTE)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": lines[index // len(PALETTE) % len(lines)],
    }
