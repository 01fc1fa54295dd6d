"""Files that a table or an annotation names and that are not there."""

import os
import stat
from pathlib import Path

NO_FILE = "is not there"


def measure_file(path: str) -> int:
    """Return the size of a file in bytes; -1 if there is no such file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # a path with a zero byte
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def explain_missing(source: Path) -> str:
    """Return what is wrong with an image that ``source`` names and that is not there."""
    return f"{NO_FILE}. Restore the file, or remove the entry of {source.name} that names it."
