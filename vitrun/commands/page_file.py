"""The file of a page that a command writes where a user asks for it."""

import re
from functools import partial
from pathlib import Path

from vitrun.errors import ExitCode, UserError
from vitrun.plots.page import Page
from vitrun.runtime.console import Screen
from vitrun.runtime.outputs import check_replaceable, unwritable_error, write_output

PAGE_SUFFIXES = (".html", ".htm")
FOOTER = re.compile("<footer>.*?</footer>", re.DOTALL)  # which has the time


def check_page_file(path: Path) -> None:
    """Raise UserError about ``save`` if a page cannot be written to ``path``."""
    if path.suffix.lower() not in PAGE_SUFFIXES:
        why = f"is an HTML page, and its name must end in {' or '.join(PAGE_SUFFIXES)}."
        raise UserError(why, option="save", value=str(path))
    check_replaceable(path, "save")
    if not path.absolute().parent.is_dir():
        why = "there is no such folder: make it, or choose another."
        raise UserError(why, ExitCode.SPACE, "save", str(path))


def write_page(page: Page, path: Path, screen: Screen, force: bool) -> None:
    """Write a page, and log where it is; do nothing if it is there but for the time in its footer."""
    text = page.to_html()
    size = f"{len(text.encode()) / 1e6:.1f} MB"
    try:
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        if FOOTER.sub("", before) == FOOTER.sub("", text):
            screen.log(f"{path} already has this page ({size})")
            return
        write_output(path, partial(Path.write_text, data=text, encoding="utf-8"), "save", force)
    except OSError as error:
        raise unwritable_error(path, "save", error) from None
    screen.log(f"Written to {path} ({size})")
