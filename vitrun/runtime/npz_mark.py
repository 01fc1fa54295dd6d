"""vitrun's mark in an ``.npz`` that it exported: JSON in the comment of the archive, which other readers pass over."""

import json
import zipfile
from pathlib import Path
from typing import Any

from vitrun.runtime.files import parse_json

KEY = "vitrun"


def write_mark(path: Path, facts: dict[str, Any]) -> None:
    """Write facts, in less than 65,536 bytes of JSON, into an archive."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = json.dumps({KEY: facts}).encode()


def read_mark(path: Path) -> dict[str, Any] | None:
    """Return the facts in an archive; None if vitrun did not write it, or if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return dict(parse_json(archive.comment)[KEY])
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile):
        return None
