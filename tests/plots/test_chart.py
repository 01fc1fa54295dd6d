"""A figure is the same bytes twice, an SVG follows the theme of its page, and its data is written beside it."""

import csv
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import pytest

from vitrun.plots.chart import Chart, save_chart, to_svg
from vitrun.plots.style import PALETTE, create_axes, series_style, styled

LABEL = "a < $b$ & \u5b57 #0072b2"  # a class of a user: it is no formula, no tag, no colour


@pytest.fixture
def chart() -> Chart:
    with styled():
        figure, axes = create_axes("step", "loss (nats)")
        for index in range(8):
            axes.plot([0, 1, 2], [index, 1, 2], label=f"{LABEL} {index}", **series_style(index))
        axes.legend()
    return Chart("losses", "Losses & more", figure, ("step", "loss (nats)"), ((0, 0.5), (1, None)))


def test_a_chart_is_written_as_the_same_bytes_each_time_and_as_data(chart, tmp_path):
    save_chart(chart, tmp_path)
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert {*first} == {"losses.png", "losses.svg", "losses.csv"}
    with matplotlib.rc_context({"svg.fonttype": "path", "savefig.dpi": 50, "font.size": 20}):  # the user's own
        save_chart(chart, tmp_path)
    assert first == {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    rows = list(csv.reader((tmp_path / "losses.csv").read_text().splitlines()))
    assert rows == [["step", "loss (nats)"], ["0", "0.5"], ["1", ""]]


def test_an_svg_has_text_and_the_colours_of_its_page(chart):
    svg = to_svg(chart.figure, title=chart.title)
    texts = [node.text for node in ElementTree.fromstring(svg).iter() if node.tag.endswith(("text", "title"))]
    assert {"Losses & more", "loss (nats)", f"{LABEL} 7"} <= {*texts}
    styles = " ".join(re.findall(r'style="([^"]*)"', svg))
    assert "currentColor" in styles and f"var(--plot-0, {PALETTE[0]})" in styles
    assert not re.search(r"#[0-9a-f]{6}", re.sub(r"var\([^)]*\)", "", styles)), "every colour is one of the theme"
    assert "<style" not in svg, "a rule in one figure would hold for the whole page"


def test_two_figures_of_a_page_share_no_id(chart):
    one, two = ({*re.findall(r' id="([^"]*)"', to_svg(chart.figure, prefix))} for prefix in ("a", "b"))
    assert one and not one & two
