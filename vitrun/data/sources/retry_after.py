"""How long a server asks to wait before the next try."""

import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime

MOST_SECONDS = 300.0  # of what a server asks for


def read_retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds of ``Retry-After``, a number or a date, at most ``MOST_SECONDS``; 0 if there are none."""
    text = (headers.get("Retry-After") or "").strip()
    seconds = float(text) if text.isdecimal() else 0.0
    with suppress(ValueError, TypeError):
        if text and not text.isdecimal():
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
    return min(max(seconds, 0.0), MOST_SECONDS)
