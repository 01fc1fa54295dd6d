"""Short texts for messages about files."""

from collections.abc import Sequence


def abbreviate(names: Sequence[str]) -> str:
    """The first names of many."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "nothing"


def first_line(error: Exception) -> str:
    """What an exception says first, or what it is where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
