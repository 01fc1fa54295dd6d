"""Pages in a browser: drawn without an error, sorted and filtered by mouse and keyboard, in both themes, on a phone."""

import pytest

from helpers.browser import Browser, needs_browser
from vitrun.plots import style
from vitrun.plots.chart import Chart
from vitrun.plots.page import Cell, Code, Column, Details, Gallery, Page, Picture, Row, Table, chart_figure

pytestmark = [pytest.mark.browser, needs_browser]
COLUMN = "[...document.querySelectorAll('tbody tr:not([hidden])')].map(row => row.cells[{}].textContent)"
HIDDEN = "[...document.querySelectorAll('[data-key]')].filter(one => one.hidden).map(one => one.dataset.key)"


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Return the file of a page with all kinds of blocks."""
    with style.styled():
        figure, axes = style.create_axes("step", "loss")
        axes.plot([1, 2, 3], [3, 2, 1])
    page = Page("Runs", ["Three runs."], filtered="runs")
    columns = [Column("run"), Column("top-1", "%", numeric=True), Column("images", numeric=True)]
    rows = [Row(["b", 9.5, 1_000], "b"), Row(["a", Cell("10.25 ± 0.5"), 200], "a"), Row(["c", None, 30_000], "c")]
    page.add("Results", Table(columns, rows, "Results", is_index=True))
    page.add("Curves", chart_figure(Chart("loss", "Loss", figure, ("step",), ((1,),))))
    page.add("Recipes", Details("Recipe of a", [Code("seed: 1")], "a"), Gallery([Picture(b"", "image", ["x"], "b")]))
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(page.to_html(), encoding="utf-8")
    return path


def test_nothing_is_requested_and_no_error_is_logged(browser, file):
    browser.open(file)
    assert not browser.problems and not browser.foreign_requests()
    box = browser.evaluate(
        "(() => {const box = document.querySelector('svg').getBBox(); return [box.width, box.height]})()"
    )
    assert min(box) > 100


def test_what_is_put_into_a_page_neither_runs_nor_loads(browser, tmp_path, file):
    other = tmp_path / "other.html"
    attack = (
        "<img src='http://127.0.0.1:9/x.png'><script>document.title = 'run'</script><p onclick='1' style='color: red'>"
    )
    other.write_text(file.read_text(encoding="utf-8").replace("Three runs.", attack), encoding="utf-8")
    browser.open(other)
    assert browser.evaluate("document.title") == "Runs"
    assert any("Content Security Policy" in text for text in browser.problems)


def test_columns_are_sorted_by_mouse_and_by_keyboard(browser, file):
    browser.open(file)
    browser.click("thead th:nth-child(2) button")
    assert browser.evaluate(COLUMN.format(0)) == ["b", "a", "c"]  # 9.5 before 10.25, and what is missing last
    browser.click("thead th:nth-child(2) button")
    assert browser.evaluate(COLUMN.format(0)) == ["a", "b", "c"]
    sorted_by = "[...document.querySelectorAll('thead th')].map(one => one.getAttribute('aria-sort'))"
    assert browser.evaluate(sorted_by) == ["none", "descending", "none"]
    browser.press("Tab", 9)
    browser.press("Enter", 13, "\r")
    assert browser.evaluate(COLUMN.format(2)) == ["200", "1,000", "30,000"]
    assert browser.evaluate(sorted_by) == ["none", "none", "ascending"]


def test_the_filter_hides_all_that_belongs_to_other_rows(browser, file):
    browser.open(file)
    browser.click("#filter")
    browser.write("a 10.2")
    assert browser.evaluate(COLUMN.format(0)) == ["a"] and sorted(browser.evaluate(HIDDEN)) == ["b", "b", "c"]
    assert browser.evaluate("document.querySelector('output').textContent") == "1 of 3 runs"
    browser.press("a", 65), browser.evaluate("filter.select()")
    browser.press("Backspace", 8)
    assert browser.evaluate(HIDDEN) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_theme_is_that_of_the_system_until_the_button_changes_it(browser, file, dark):
    browser.open(file, dark=dark)
    color = "getComputedStyle(document.body).backgroundColor"
    light_and_dark = ["rgb(255, 255, 255)", "rgb(13, 17, 23)"]
    assert browser.evaluate(color) == light_and_dark[dark]
    browser.click("#theme")
    assert browser.evaluate(color) == light_and_dark[not dark]
    assert browser.evaluate("theme.textContent") == ("Dark" if dark else "Light")
    browser.evaluate("localStorage.clear()")


@pytest.mark.parametrize("width", [400, 1280])
def test_a_page_is_never_wider_than_the_screen(browser, file, width):
    browser.open(file, width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
