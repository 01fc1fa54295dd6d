"""Images that a user names one by one: files, folders of them, and patterns."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vitrun.data.sources.scan import Scan, escape_name
from vitrun.data.split import BadImage, Split
from vitrun.errors import ExitCode, UserError
from vitrun.runtime.path_patterns import expand_pattern


def list_image_files(patterns: Sequence[str]) -> list[Path]:
    """Return the files of paths and patterns, each once, and of each folder the images below it."""
    files: dict[Path, None] = {}
    for path in (path for pattern in patterns for path in expand_pattern(pattern)):
        if path.is_dir():
            scan = Scan(path.parent)
            inside = [path.parent / name for name, _ in scan.walk(path.name)]
            if not inside:
                what = scan.left_out.describe()
                why = f"this folder has no images{f' (left out: {what})' if what else ''}."
                raise UserError(why, ExitCode.DATA, "images", str(path))
            files |= dict.fromkeys(inside)
        else:
            files[path] = None
    return list(files)


def open_image_files(patterns: Sequence[str]) -> Split:
    """Return a split of images without labels, in the order of the paths; an unreadable file is a bad image of it."""
    files = list_image_files(patterns)
    keys = [escape_name(str(file)) for file in files]

    def read(index: int) -> bytes:
        try:
            return files[index].read_bytes()
        except OSError as error:
            raise BadImage(f"{keys[index]} cannot be read: {error.strerror}.", ExitCode.DATA) from None

    return Split(keys, np.zeros(len(files), np.int64), ("unknown",), read_encoded=read, exif=True)
