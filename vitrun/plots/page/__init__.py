"""Pages: sections of text, tables, figures and pictures in; one HTML file out, which loads nothing.

    page = Page("Runs", ["Three runs on CIFAR-10."], filtered="runs")
    page.add("Results", Table([Column("run"), Column("top-1", "%", numeric=True)], [Row(["a", 93.1])], "Results"))
    page.add("Curves", chart_figure(chart), Note("Of 500 runs the 20 newest are drawn."))
    page.to_html()

Text is escaped wherever it stands.
"""

from vitrun.plots.page.blocks import Block, Code, Details, Facts, Figure, Gallery, Note, Picture, Text
from vitrun.plots.page.document import Page, Section, chart_figure
from vitrun.plots.page.table import Cell, Column, Row, Table, Value

__all__ = [
    "Block",
    "Cell",
    "Code",
    "Column",
    "Details",
    "Facts",
    "Figure",
    "Gallery",
    "Note",
    "Page",
    "Picture",
    "Row",
    "Section",
    "Table",
    "Text",
    "Value",
    "chart_figure",
]
