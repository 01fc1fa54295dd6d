"""Pages: one file that loads nothing, in which every text is text."""

import re
from html.parser import HTMLParser

import pytest

from vitrun.plots import style
from vitrun.plots.chart import Chart
from vitrun.plots.page import (
    Cell,
    Code,
    Column,
    Details,
    Facts,
    Gallery,
    Note,
    Page,
    Picture,
    Row,
    Table,
    Text,
    chart_figure,
)

HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&\u202egnp.exe"


class Elements(HTMLParser):
    """Elements of a page, with their attributes, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def chart():
    """Return a chart whose title, label and data are markup."""
    with style.styled():
        figure, axes = style.create_axes("step", "loss")
        axes.plot([1, 2, 3], [3, 2, 1], label=HOSTILE)
        axes.legend()
    return Chart("loss", HOSTILE, figure, ("step", HOSTILE), ((1, HOSTILE), (2, 1.0)), HOSTILE)


@pytest.fixture(scope="module")
def hostile_page(chart):
    """Return a page in which every text that there can be is markup."""
    page = Page(HOSTILE, [HOSTILE], filtered=HOSTILE, footer=HOSTILE)
    columns = [Column(HOSTILE, HOSTILE, about=HOSTILE), Column("number", "%", numeric=True)]
    rows = [Row([Cell(HOSTILE, HOSTILE, HOSTILE), 1.5], HOSTILE), Row([HOSTILE, None])]
    page.add(HOSTILE, Text(HOSTILE), Note(HOSTILE), Code(HOSTILE), Facts({HOSTILE: HOSTILE}))
    page.add(HOSTILE, Table(columns, rows, HOSTILE, is_index=True), Details(HOSTILE, [Text(HOSTILE)], HOSTILE))
    page.add(HOSTILE, chart_figure(chart), Gallery([Picture(b"", HOSTILE, [HOSTILE], HOSTILE)]))
    return page.to_html()


def test_no_text_becomes_markup(hostile_page):
    elements = Elements(hostile_page)
    names = [tag for tag, _ in elements.tags]
    assert names.count("script") == 1 and names.count("img") == 1
    assert not [name for _, attributes in elements.tags for name in attributes if name.startswith("on")]
    assert elements.text.count("<script>alert(1)</script>") > 15 and "\u202e" not in hostile_page


def test_nothing_is_loaded_from_elsewhere(hostile_page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', hostile_page)
    assert policy and policy[1].startswith("default-src 'none'; img-src data:;") and "base-uri 'none'" in policy[1]
    links = [
        attributes[name]
        for _, attributes in Elements(hostile_page).tags
        for name in ("src", "href", "xlink:href", "action")
        if name in attributes
    ]
    assert links and all(link.startswith(("data:", "#")) for link in links)


def test_a_page_has_headings_in_its_contents_and_ids_once(hostile_page):
    elements = Elements(hostile_page).tags
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    headings = [attributes["id"] for tag, attributes in elements if tag == "h2"]
    assert len(headings) == 3 and all(("a", {"href": f"#{name}"}) in elements for name in headings)


def test_a_table_has_a_button_in_each_heading_and_a_chart_has_its_data(hostile_page):
    elements = Elements(hostile_page).tags
    at = [number for number, (tag, attributes) in enumerate(elements) if attributes.get("scope") == "col"]
    assert len(at) == 2 and all(elements[number + 1][0] == "button" for number in at)
    assert all(elements[number][1]["aria-sort"] == "none" for number in at)
    (data,) = (attributes for _, attributes in elements if "download" in attributes)
    assert data["download"] == "loss.csv" and data["href"].startswith("data:text/csv;base64,")


def test_a_section_without_blocks_is_left_out_and_the_same_page_is_the_same_bytes(chart):
    pages = [Page("Runs") for _ in range(2)]
    for page in pages:
        page.add("Without blocks")
        page.add("Curve", chart_figure(chart))
    first, second = (page.to_html() for page in pages)
    assert first == second and "Without blocks" not in first and "<nav" not in first


def test_a_name_that_is_no_utf8_leaves_a_page_of_utf8():
    assert "<h1>a?b</h1>" in Page("a\udcffb").to_html().encode().decode()
