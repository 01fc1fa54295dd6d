"""Images without labels that a user names: files, folders of them, and patterns."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from vitrun.data.sources.messages import escape_name
from vitrun.data.sources.scan import LeftOut, Scan
from vitrun.data.split import BadImage, Split
from vitrun.errors import ExitCode
from vitrun.runtime.files import read_regular_file
from vitrun.runtime.path_patterns import expand_pattern

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://")


def list_image_files(paths: Iterable[str]) -> tuple[list[str], LeftOut]:
    """Return the images that paths and patterns name, each once and in their order, and what was left out of folders.

    A folder stands for the images below it. A file that does not exist is listed too, as is a pattern that nothing
    matches: it is a bad image.
    """
    left_out = LeftOut()
    files = dict.fromkeys(file for path in paths for file in expand_path(os.path.expanduser(path), left_out))
    return list(files), left_out


def expand_path(path: str, left_out: LeftOut) -> Iterator[str]:
    """Yield the images that one path or pattern names; count what is not an image in ``left_out``."""
    if os.path.isdir(path):
        folder = Path(os.path.abspath(path))
        images = Scan(folder.parent, left_out).walk(folder.name)
        yield from (os.path.join(path, file.removeprefix(f"{folder.name}/")) for file, _ in images)
    elif os.path.lexists(path) or not glob.has_magic(path):
        yield path
    else:
        for match in expand_pattern(path) or [Path(path)]:  # a pattern that nothing matches is a file that is not there
            yield from expand_path(str(match), left_out) if match.is_dir() else (str(match),)


def open_image_files(
    files: Sequence[str], classes: tuple[str, ...] = ("unknown",), exif: bool = True, fast_jpeg: bool = False
) -> Split:
    """Return a split of image files without labels (-1), in their order; an unreadable file is a bad image of it."""
    keys = [escape_name(file) for file in files]

    def read(index: int) -> bytes:
        if ADDRESS.match(files[index]):
            raise BadImage(f"{keys[index]} is an address, and only files are read: download it first.", ExitCode.DATA)
        try:
            return read_regular_file(Path(files[index]))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise BadImage(f"{keys[index]} cannot be read: {why}.", ExitCode.DATA) from None

    labels = np.full(len(files), -1, np.int64)
    return Split(keys, labels, classes, read_encoded=read, exif=exif, fast_jpeg=fast_jpeg)
