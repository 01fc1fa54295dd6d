"""Patterns that name shards: ``train-{000..127}.tar``."""

import re

from vitrun.recipes.base import OptionError

BRACE_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}", re.ASCII)
MAX_SHARDS = 1_000_000  # in one pattern
MAX_DIGITS = 18


def is_url(pattern: str) -> bool:
    """Return whether a pattern of shards names URLs rather than files."""
    return pattern.startswith(("http://", "https://"))


def check_pattern(option: str, pattern: str) -> None:
    """Raise an OptionError if a pattern has a range that goes down, or names more than ``MAX_SHARDS`` shards."""
    number = 1
    for first, last in BRACE_RANGE.findall(pattern):
        if max(len(first), len(last)) > MAX_DIGITS:
            raise OptionError(option, pattern, f"has a number of more than {MAX_DIGITS} digits.")
        if int(first) > int(last):
            raise OptionError(option, pattern, f"has a range that goes down: write {{{last}..{first}}}.")
        number *= int(last) - int(first) + 1
    if number > MAX_SHARDS:
        raise OptionError(option, pattern, f"names {number:,} shards: at most {MAX_SHARDS:,}.")
