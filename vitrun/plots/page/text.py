"""Text of a page. All of it goes through :func:`escape`: names of files and classes may be markup."""

import html
import re
from collections.abc import Iterable, Iterator

from vitrun.runtime.text_format import escape_controls


def escape(text: object) -> str:
    """Return a value as text of a page, of an element or in a quoted attribute."""
    return html.escape(escape_controls(str(text)))


def escape_lines(text: str) -> str:
    """Return a text with a break possible after each sign that joins the parts of a name: they are long."""
    return re.sub(r"([_/,=-])(?=\w)", r"\1<wbr>", escape(text))


def unique_slugs(titles: Iterable[str]) -> Iterator[str]:
    """Yield an id for each title: its letters and digits, and a number if another title has the same."""
    seen: dict[str, int] = {}
    for title in titles:
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        seen[slug] = seen.get(slug, 0) + 1
        yield slug if seen[slug] == 1 else f"{slug}-{seen[slug]}"
