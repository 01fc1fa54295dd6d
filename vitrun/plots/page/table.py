"""Table of a page, sorted by its columns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vitrun.plots.page.blocks import key_attribute
from vitrun.plots.page.text import escape, escape_lines

SHORT_NAME = 20  # characters of a row's heading that need no room of their own
LONG_TEXT = 48  # characters of a cell that is broken into lines


@dataclass(frozen=True)
class Column:
    """Heading of a column. Numbers are aligned to the right."""

    name: str
    unit: str = ""
    numeric: bool = False
    about: str = ""  # a longer explanation, shown when the heading is pointed at

    def to_html(self) -> str:
        """Return a ``<th>`` with a button that sorts by the column."""
        unit = f' <span class="unit">({escape(self.unit)})</span>' if self.unit else ""
        look = ' class="number"' if self.numeric else ""
        about = f' title="{escape(self.about)}"' if self.about else ""
        button = f'<button type="button"{about}>{escape(self.name)}{unit}</button>'
        return f'<th scope="col" aria-sort="none"{look}>{button}</th>'


@dataclass(frozen=True)
class Cell:
    """Text of a cell, and what it is sorted by if that is not the text or the number at its beginning."""

    text: str
    order: float | str | None = None
    link: str = ""  # the id of a section or row of this page

    def to_html(self, look: str, is_heading: bool) -> str:
        """Return a ``<td>``, or the ``<th>`` of a row."""
        order = "" if self.order is None else f' data-order="{escape(self.order)}"'
        text = escape_lines(self.text) if is_heading else escape(self.text)
        if self.link:
            text = f'<a href="#{escape(self.link)}">{text}</a>'
        if is_heading:
            return f'<th scope="row"{order}>{text}</th>'
        look = look or (' class="long"' if len(self.text) > LONG_TEXT else "")
        return f"<td{look}{order}>{text}</td>"


Value = Cell | str | float | None  # of a cell; None is empty, and sorted last


@dataclass(frozen=True)
class Row:
    """Row of a table.

    ``key`` names the thing that it is about, with which the filter of the page hides it; of several one per line.
    """

    values: Sequence[Value]
    key: str = ""


@dataclass(frozen=True)
class Table:
    """Table whose columns sort it. The first cell of a row is its heading.

    If ``is_index``, the filter of the page searches the text of its rows, and hides everything with the key of a row
    that it does not find.
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    caption: str
    is_index: bool = False

    def to_html(self) -> str:
        """Return a ``<table>`` that scrolls sideways where it is wider than the page."""
        header = "".join(column.to_html() for column in self.columns)
        looks = [' class="number"' if column.numeric else "" for column in self.columns]
        body = "".join(self.row_to_html(row, looks) for row in self.rows)
        index = ' data-index=""' if self.is_index else ""
        caption = escape(self.caption)
        longest = max((len(to_cell(row.values[0]).text) for row in self.rows), default=0)
        look = ' class="names"' if longest > SHORT_NAME else ""
        return (
            f'<figure class="table"><figcaption>{caption}</figcaption>'
            f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0"><table{look}{index}>'
            f"<thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div></figure>"
        )

    def row_to_html(self, row: Row, looks: Sequence[str]) -> str:
        """Return a ``<tr>``."""
        cells = (
            to_cell(value).to_html(look, number == 0) for number, (value, look) in enumerate(zip(row.values, looks))
        )
        return f"<tr{key_attribute(row.key)}>{''.join(cells)}</tr>"


def to_cell(value: Value) -> Cell:
    """Return a value as a cell: a number with four digits, a missing one empty."""
    if isinstance(value, Cell):
        return value
    if value is None or isinstance(value, float) and math.isnan(value):
        return Cell("")
    if isinstance(value, str):
        return Cell(value)
    return Cell(f"{value:,}" if isinstance(value, int) else f"{value:,.4g}", value)
