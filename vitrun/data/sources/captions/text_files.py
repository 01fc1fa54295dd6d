"""A folder of images, each with a text file of the same name: ``NAME.jpg`` and ``NAME.txt``."""

from pathlib import Path

from vitrun.data.sources.captions.listing import Listing
from vitrun.data.sources.scan import OTHER, Scan
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.files import MAX_TEXT, read_regular_file


def list_text_files(root: Path) -> tuple[Listing, str]:
    """Return the images below a folder with the lines of their text files as captions, and what was left out."""
    root = root.resolve()
    scan, listing, used = Scan(root.parent), Listing(), 0
    for inside, _ in scan.walk(root.name):
        path = inside.removeprefix(f"{root.name}/")
        texts = read_lines((root / path).with_suffix(".txt"))
        used += texts is not None
        listing.add(path, texts or [None])
    others = scan.left_out.counts.pop(OTHER, 0) - used  # text files are not images
    if others > 0:
        scan.left_out.counts[OTHER] = others
    return listing, scan.left_out.describe()


def read_lines(file: Path) -> list[str | None] | None:
    """Return the lines of a text, one empty line if it has none; None if there is no such file.

    Raise UserError if it is too large.
    """
    if not file.is_file():
        return None
    try:
        text = read_regular_file(file, MAX_TEXT).decode("utf-8-sig", "surrogateescape")
    except ValueError as error:
        raise UserError(f"{file} has no captions that can be read: {error}. Move it away.", ExitCode.DATA) from None
    return [*(text.splitlines() or [""])]
