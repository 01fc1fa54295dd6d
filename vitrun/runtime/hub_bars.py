"""Progress bars of the Hub's client: shown on a terminal, and by no quiet command or call from Python."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "HF_HUB_DISABLE_PROGRESS_BARS"  # read when the client is imported


def hide_in_process(quiet: bool) -> None:
    """Hide the bars in this process, unless it is on a terminal and not quiet; before the client is imported."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        os.environ.setdefault(VARIABLE, "1")


@contextmanager
def hidden(quiet: bool) -> Iterator[None]:
    """Hide the bars for a while if ``quiet``, and show them afterwards if they were shown before."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if not quiet or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
