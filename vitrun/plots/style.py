"""Style of all figures: sizes, fonts, and colours that people with any colour vision can tell apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design", https://jfly.uni-koeln.de/color/, without black, and yellow last, which is
# pale on white
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # series differ in their markers too, for print without colour
FOREGROUND = "#1f2328"  # text and axes; not black, which matplotlib leaves out of an SVG
MUTED = "#8c959f"  # what stays in the background, such as chance level
GRID = "#d8dee4"
SEQUENTIAL = "cividis"  # colour map of quantities, readable with any colour vision
WIDTH, HEIGHT = 6.4, 4.0  # inches

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

DARK_PALETTE = ("#4aa3df", "#f0813a", "#2fc39a", "#e09cc2", "#f0b429", "#8ccdf2", "#f5ec6b")  # the same hues, brighter


def name_colors(grid: str, muted: str, palette: tuple[str, ...]) -> dict[str, str]:
    """Return the colours of a theme by name."""
    return {"grid": grid, "muted": muted} | {str(index): color for index, color in enumerate(palette)}


LIGHT = name_colors(GRID, MUTED, PALETTE)
DARK = name_colors("#30363d", "#768390", DARK_PALETTE)


def define_colors(colors: dict[str, str]) -> str:
    """Return CSS variables ``--plot-NAME`` for an element's style."""
    return "".join(f"--plot-{name}:{color};" for name, color in colors.items())


# What a page or an SVG file defines so that figures follow its theme; text and axes have the colour of its text
THEME_CSS = f":root{{{define_colors(LIGHT)}}}@media (prefers-color-scheme:dark){{:root{{{define_colors(DARK)}}}}}"
# Colours of the style, and what stands for each in an SVG
THEME_COLORS = {FOREGROUND: "currentColor"} | {color: f"var(--plot-{name}, {color})" for name, color in LIGHT.items()}


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
    """Place the legend of ``axes`` under it, where it hides nothing, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        columns = max(1, int(figure.get_figwidth() * 12 / (max(map(len, labels)) + 8)))
        figure.legend(handles, labels, loc="outside lower left", ncols=min(columns, len(labels)))


def series_style(index: int) -> dict[str, Any]:
    """Return the colour, marker and line of a series; more series than colours differ in their lines."""
    lines = ("-", "--", ":", "-.")
    return {
        "color": PALETTE[index % len(PALETTE)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": lines[index // len(PALETTE) % len(lines)],
    }
