"""Chart: a figure with the numbers that it shows, and how both are written."""

import csv
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from matplotlib.figure import Figure

from vitrun.plots.style import THEME_COLORS, THEME_CSS, styled
from vitrun.runtime.files import write_atomic, write_text_atomic

FONTS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
PAGE_CSS = "svg{background:#fff;color:#1f2328}@media (prefers-color-scheme:dark){svg{background:#0d1117;color:#e6edf3}}"


@dataclass(frozen=True)
class Chart:
    """Figure with its data: ``rows`` under ``columns`` hold every number that the figure shows."""

    name: str  # of its files, without a suffix
    title: str
    figure: Figure = field(repr=False, compare=False)
    columns: tuple[str, ...]  # each with its unit, as in "accuracy (%)"
    rows: tuple[tuple[Any, ...], ...] = field(repr=False)
    note: str = ""  # a caption: what is drawn, and the source of published numbers


def save_chart(chart: Chart, folder: Path) -> None:
    """Write ``NAME.png``, ``NAME.svg`` and ``NAME.csv`` to ``folder``."""
    for suffix in (".png", ".svg"):
        save_figure(chart.figure, folder / f"{chart.name}{suffix}", chart.title)
    write_csv(chart, folder / f"{chart.name}.csv")


def save_figure(figure: Figure, path: Path, title: str = "") -> None:
    """Write a figure as its suffix says, ``.png`` or ``.svg``; the same figure gives the same bytes."""
    if path.suffix == ".svg":
        write_text_atomic(path, to_svg(figure, title=title, standalone=True))
        return
    with styled(), ignore_missing_glyphs():
        write_atomic(
            path, lambda partial: figure.savefig(partial, format="png", facecolor="white", metadata={"Software": None})
        )


def write_csv(chart: Chart, path: Path) -> None:
    """Write the data of a chart."""
    write_text_atomic(path, format_csv(chart))


def format_csv(chart: Chart) -> str:
    """Return the data of a chart as CSV; a missing number is an empty field."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([chart.columns, *chart.rows])
    return text.getvalue()


def to_svg(figure: Figure, prefix: str = "", title: str = "", standalone: bool = False) -> str:
    """Return a figure as an SVG element for an HTML page, or as a file of its own.

    Text is text. Text and axes have the ``currentColor`` of the page, the style's other colours are CSS variables
    (``THEME_CSS``), and nothing is drawn behind them: one SVG is readable in light and dark pages. Two figures of one
    page need different ``prefix``, of which the ids are made. ``title`` is read to who cannot see the figure.
    """
    text = io.StringIO()
    metadata: dict[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with styled(**{"svg.hashsalt": f"vitrun{prefix}"}), ignore_missing_glyphs():
        figure.savefig(text, format="svg", facecolor="none", metadata=metadata)
    svg = text.getvalue()
    head, body = svg[svg.index("<svg") :].split(">", 1)
    body = re.sub(r"\s*<(metadata|defs)>\s*(<style.*?</style>)?\s*</\1>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"<[^<>]+>", rewrite_tag, body)
    body = re.sub(r">\n\s*<", "><", body)
    view = re.search(r'viewBox="[^"]*"', head)
    width = re.search(r'width="([^"]*)pt"', head)
    assert view and width
    look = f"max-width:100%;height:auto;stroke-linejoin:round;font-family:{FONTS}"
    attributes = f'class="plot" role="img" width="{float(width[1]) * 4 / 3:g}" {view[0]} style="{look}"'
    label = f"<title>{escape(title)}</title>" if title else ""
    css = f"<style>{THEME_CSS}{PAGE_CSS}</style>" if standalone else ""
    names = ' xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f"<svg{names} {attributes}>{label}{css}{body.strip()}\n"


def rewrite_tag(match: re.Match[str]) -> str:
    """Return a tag of matplotlib's SVG with the colours of the theme, the fonts of the page, and no id but a hash."""
    tag = re.sub(r' id="[^"]*_[^"]*"', "", match[0])
    tag = re.sub(r"(\d\.\d\d)\d+", r"\1", tag)  # hundredths of a point
    tag = re.sub(r"; font-family: [^;\"]*", "", tag)
    return re.sub(r"#[0-9a-f]{6}\b", lambda color: THEME_COLORS.get(color[0], color[0]), tag)


@contextmanager
def ignore_missing_glyphs() -> Iterator[None]:
    """Do not warn of characters without a glyph in DejaVu Sans: in an SVG they are text."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        yield
