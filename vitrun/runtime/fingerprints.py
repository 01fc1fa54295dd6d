"""Fingerprints that took long to compute, stored in the user's cache by the state of the files that they are of."""

import json
import re
import time
from collections.abc import Callable
from contextlib import suppress

from vitrun.runtime.files import parse_json, read_small_text, remove_partials, user_cache_folder, write_text_atomic
from vitrun.runtime.process import share_folder

CACHE_FILE = "fingerprints.json"
MAX_STORED = 1000
SETTLED_SECONDS = 2.0  # a file that is younger may change again within one tick of its disk's clock


def cached_fingerprint(state: str, changed: float, compute: Callable[[], str]) -> str:
    """Return ``compute()``, or what it returned when the files had the same ``state`` before.

    Args:
        changed: When one of them changed last, in seconds since 1970.
    """
    stored = load_stored()
    if state in stored:
        return stored[state]
    fingerprint = compute()
    if changed < time.time() - SETTLED_SECONDS:
        with suppress(OSError):  # it is only faster with it
            folder = user_cache_folder()
            folder.mkdir(parents=True, exist_ok=True)
            with share_folder(folder, lambda: remove_partials(folder, re.escape(CACHE_FILE))):
                newest = [*load_stored().items(), (state, fingerprint)][-MAX_STORED:]
                write_text_atomic(folder / CACHE_FILE, json.dumps(dict(newest), indent=0))
    return fingerprint


def load_stored() -> dict[str, str]:
    """Return the stored fingerprints by state, the newest last; none if there is no such file, or it is damaged."""
    try:
        content = parse_json(read_small_text(user_cache_folder() / CACHE_FILE))
    except (OSError, ValueError):
        return {}
    return {str(state): str(code) for state, code in content.items()} if isinstance(content, dict) else {}
