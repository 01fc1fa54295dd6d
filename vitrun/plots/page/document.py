"""Page: one HTML file that loads nothing, readable in light and dark, on a phone and printed."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from vitrun.plots import style
from vitrun.plots.chart import Chart, format_csv, to_svg
from vitrun.plots.page.blocks import Block, Figure
from vitrun.plots.page.text import escape, unique_slugs

FOLDER = Path(__file__).parent
WIDE = 8.0  # inches of a chart above which it has the whole width of the page, not half of it
MAX_CSV = 400_000  # characters of the data of a chart that the page has room for


@dataclass
class Section:
    """Part of a page with a heading; one without blocks is left out."""

    title: str
    blocks: list[Block] = field(default_factory=list)

    def add(self, *blocks: Block) -> "Section":
        """Add blocks, and return the section."""
        self.blocks += blocks
        return self


@dataclass
class Page:
    """Page of sections, with a table of contents if there are several.

    Args:
        lead: Paragraphs below the title.
        filtered: What the rows of index tables are, as in ``runs``: the page has a box that filters them.
        footer: A line at the end: what made the page, and when.
    """

    title: str
    lead: Sequence[str] = ()
    sections: list[Section] = field(default_factory=list)
    filtered: str = ""
    footer: str = ""

    def add(self, title: str, *blocks: Block) -> Section:
        """Add a section, and return it."""
        self.sections.append(Section(title, [*blocks]))
        return self.sections[-1]

    def to_html(self) -> str:
        """Return the file. The policy in its head forbids to load anything, and to run any script but its own."""
        sections = [section for section in self.sections if section.blocks]
        slugs = list(unique_slugs(section.title for section in sections))
        contents = format_contents(sections, slugs) if len(sections) > 1 else ""
        lead = "".join(f"<p>{escape(text)}</p>" for text in self.lead)
        controls = format_filter(self.filtered) if self.filtered else ""
        body = "\n".join(format_section(section, slug) for section, slug in zip(sections, slugs))
        footer = f"<footer><p>{escape(self.footer)}</p></footer>" if self.footer else ""
        page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{security_policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{escape(self.title)}</title>
<link rel="icon" href="data:,">
<style>{read_css()}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header><div class="bar"><h1>{escape(self.title)}</h1><button type="button" id="theme" hidden>Dark</button></div>
{lead}</header>
{contents}
<main id="main">
{controls}
{body}
</main>
{footer}
<script>{read_script()}</script>
</body>
</html>
"""
        return page.encode(errors="replace").decode()  # the name of a file or of a run may not be UTF-8


def chart_figure(chart: Chart) -> Figure:
    """Return a chart as a block. The names of the charts of one page must differ."""
    label, note, data = f"{chart.title}. {chart.note}".rstrip(". "), chart.note, format_csv(chart)
    if len(data) > MAX_CSV:
        note = f"{note} Its data have {len(chart.rows):,} rows, too many for this page.".lstrip()
        data = ""
    wide = bool(chart.figure.get_figwidth() > WIDE)
    return Figure(chart.title, to_svg(chart.figure, chart.name, label), note, data, chart.name, wide)


def format_contents(sections: Sequence[Section], slugs: Sequence[str]) -> str:
    """Return the table of contents."""
    links = "".join(f'<li><a href="#{slug}">{escape(section.title)}</a></li>' for section, slug in zip(sections, slugs))
    return f'<nav aria-label="Contents"><details open><summary>Contents</summary><ol>{links}</ol></details></nav>'


def format_section(section: Section, slug: str) -> str:
    """Return a section with its heading, to which a link can point."""
    blocks = "\n".join(block.to_html() for block in section.blocks)
    heading = f'<h2 id="{slug}">{escape(section.title)}</h2>'
    return f'<section aria-labelledby="{slug}">{heading}\n{blocks}</section>'


def format_filter(things: str) -> str:
    """Return the box that filters the rows of index tables, and all that has the keys of these rows."""
    return (
        f'<form role="search" class="filter" hidden><label for="filter">Filter {escape(things)}</label>'
        '<input type="search" id="filter" autocomplete="off" spellcheck="false" placeholder="all of these words">'
        f'<output for="filter" data-things="{escape(things)}"></output></form>'
    )


@cache
def read_css() -> str:
    """Return the style of all pages, with the colours of charts in both themes."""
    light, dark = style.define_colors(style.LIGHT), style.define_colors(style.DARK)
    css = (FOLDER / "style.css").read_text(encoding="utf-8")
    return css.replace("--plot-light:;", light).replace("--plot-dark:;", dark)


@cache
def read_script() -> str:
    """Return the script of all pages."""
    return (FOLDER / "script.js").read_text(encoding="utf-8")


@cache
def security_policy() -> str:
    """Return the Content-Security-Policy: nothing is loaded but images in the page, and no script runs but its own."""
    code = base64.b64encode(hashlib.sha256(read_script().encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{code}'; "
        "base-uri 'none'; form-action 'none'"
    )
