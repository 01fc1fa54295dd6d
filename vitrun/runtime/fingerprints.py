"""Fingerprints of files, cached by the state that the disk reports of these files."""

import time
from collections.abc import Callable

from vitrun.runtime.user_cache import load_values, store_values

CACHE_FILE = "fingerprints.json"
SETTLED_SECONDS = 2.0  # a file that is younger may change again within one tick of its disk's clock


def cached_fingerprint(state: str, changed: float, compute: Callable[[], str]) -> str:
    """Return ``compute()``, or what it returned when the files had the same ``state`` before.

    Args:
        changed: When one of them changed last, in seconds since 1970.
    """
    stored = load_values(CACHE_FILE).get(state)
    if isinstance(stored, str):
        return stored
    fingerprint = compute()
    if changed < time.time() - SETTLED_SECONDS:
        store_values(CACHE_FILE, {state: fingerprint})
    return fingerprint
