"""Blocks of a page: text, facts, figures, pictures, and what can be folded."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from vitrun.plots.page.text import escape, escape_lines
from vitrun.runtime.text_format import escape_controls


class Block(Protocol):
    """Part of a section."""

    def to_html(self) -> str:
        """Return the HTML of the block, in which all text is escaped."""
        ...


@dataclass(frozen=True)
class Text:
    """Paragraph."""

    text: str

    def to_html(self) -> str:
        """Return a ``<p>``."""
        return f"<p>{escape(self.text)}</p>"


@dataclass(frozen=True)
class Note:
    """Paragraph about the page itself: what was left out, and why."""

    text: str

    def to_html(self) -> str:
        """Return a ``<p>`` in a quieter colour."""
        return f'<p class="note">{escape(self.text)}</p>'


@dataclass(frozen=True)
class Code:
    """Text as it is typed or printed, such as a recipe."""

    text: str

    def to_html(self) -> str:
        """Return a ``<pre>``."""
        return f'<pre tabindex="0"><code>{escape(self.text)}</code></pre>'


@dataclass(frozen=True)
class Facts:
    """Values by their names."""

    values: Mapping[str, object]

    def to_html(self) -> str:
        """Return a ``<dl>``."""
        pairs = "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape_lines(str(value))}</dd></div>"
            for name, value in self.values.items()
        )
        return f"<dl>{pairs}</dl>"


@dataclass(frozen=True)
class Details:
    """Blocks that are folded below a line; printed they are open."""

    summary: str
    blocks: Sequence[Block]
    key: str = ""  # of the thing it is about: the filter of the page hides it with that
    anchor: str = ""  # its id, for links

    def to_html(self) -> str:
        """Return a ``<details>``."""
        body = "".join(block.to_html() for block in self.blocks)
        anchor = f' id="{escape(self.anchor)}"' if self.anchor else ""
        return f"<details{anchor}{key_attribute(self.key)}><summary>{escape(self.summary)}</summary>{body}</details>"


@dataclass(frozen=True)
class Figure:
    """Chart, with its caption and its data."""

    title: str
    svg: str  # an <svg> element that this package made: the only text whose markup stands
    caption: str = ""
    csv: str = ""  # the numbers that it shows
    name: str = "figure"  # of the file of its data
    wide: bool = False  # whether it has the whole width of the page

    def to_html(self) -> str:
        """Return a ``<figure>``."""
        parts = [f"<strong>{escape(self.title)}</strong>", escape(self.caption)]
        if self.csv:
            uri = to_data_uri(self.csv.encode(), "text/csv")
            parts.append(f'<a class="data" download="{escape(self.name)}.csv" href="{uri}">Data (CSV)</a>')
        caption = f"<figcaption>{' '.join(filter(None, parts))}</figcaption>"
        svg = escape_controls(self.svg)
        return (
            f'<figure class="chart{" wide" * self.wide}">{caption}<div class="scroll" tabindex="0">{svg}</div></figure>'
        )


@dataclass(frozen=True)
class Picture:
    """Image file, with what it is."""

    content: bytes
    alt: str
    caption: Sequence[str] = ()  # lines
    key: str = ""
    kind: str = "image/png"

    def to_html(self) -> str:
        """Return a ``<figure>``."""
        caption = "".join(f"<span>{escape_lines(line)}</span>" for line in self.caption)
        image = f'<img src="{to_data_uri(self.content, self.kind)}" alt="{escape(self.alt)}">'
        below = f"<figcaption>{caption}</figcaption>" if caption else ""
        return f"<figure{key_attribute(self.key)}>{image}{below}</figure>"


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side; ``pixels`` is the width of one on the page, and small ones are enlarged without blur."""

    pictures: Sequence[Picture]
    pixels: int = 96

    def to_html(self) -> str:
        """Return a grid of figures."""
        figures = "".join(picture.to_html() for picture in self.pictures)
        return f'<div class="gallery" style="--picture:{int(self.pixels)}px">{figures}</div>'


def key_attribute(key: str) -> str:
    """Return the attribute by which the filter of the page finds what belongs to a thing."""
    return f' data-key="{escape(key)}"' if key else ""


def to_data_uri(content: bytes, kind: str) -> str:
    """Return the content of a file as a URI, so that a page needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
