"""The file of a page that a command writes where a user asks for it."""

from functools import partial
from pathlib import Path

from vitrun.errors import ExitCode, UserError
from vitrun.plots.page import Page
from vitrun.runtime.console import Screen
from vitrun.runtime.outputs import check_replaceable, write_output


def check_page_file(path: Path, force: bool) -> None:
    """Raise UserError about ``save`` if a page cannot be written to ``path``."""
    check_replaceable(path, "save", force)
    if not path.absolute().parent.is_dir():
        why = "there is no such folder: make it, or choose another."
        raise UserError(why, ExitCode.SPACE, "save", str(path))


def write_page(page: Page, path: Path, screen: Screen) -> None:
    """Write a page, and log where it is."""
    text = page.to_html()
    try:
        write_output(path, partial(Path.write_text, data=text, encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot write there: {error.strerror}.", ExitCode.SPACE, "save", str(path)) from None
    screen.log(f"Written to {path} ({len(text.encode()) / 1e6:.1f} MB)")
