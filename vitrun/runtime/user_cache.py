"""Values that took long to compute, in JSON files of the user's cache."""

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from vitrun.runtime.files import parse_json, read_small_text, remove_partials, write_text_atomic
from vitrun.runtime.process import share_folder

MAX_VALUES = 1000  # of a file: the newest stay


def user_cache_folder() -> Path:
    """Return vitrun's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitrun"


def load_values(file: str) -> dict[str, Any]:
    """Return the values in a file by key, the newest last; none if there is no such file, or it is damaged."""
    try:
        content = parse_json(read_small_text(user_cache_folder() / file))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def store_values(file: str, values: dict[str, Any]) -> None:
    """Add values to a file; do nothing if it cannot be written, as everything works without it."""
    folder = user_cache_folder()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with share_folder(folder, lambda: remove_partials(folder, re.escape(file))):
            newest = [*(load_values(file) | values).items()][-MAX_VALUES:]
            write_text_atomic(folder / file, json.dumps(dict(newest), indent=0))
