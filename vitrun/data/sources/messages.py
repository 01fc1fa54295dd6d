"""Short texts for messages about files."""

import os
import re
from collections.abc import Sequence

from vitrun import recipes
from vitrun.recipes import tables

CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")  # line feeds too; no text encoding has the last
MAX_NAME = 40  # characters of a name in a message


def typed_option(data: recipes.Dataset | recipes.Suite) -> tuple[str, str]:
    """Return the option that names a data set in messages, and its value.

    A set of your own has a name that nobody typed: it is named by its folder, or its repository on the Hub.
    """
    for key in ("path", "hub") if data.name not in tables.list_group_files("data") else ():
        if place := getattr(data, key, None):
            return f"{data.group}.{key}", str(place)
    return data.group, data.name


def typed_override(data: recipes.Dataset | recipes.Suite) -> str:
    """Return the override that names a data set in messages, as ``data=cifar10``."""
    return "=".join(typed_option(data))


def single_line(name: str) -> str:
    """Return a name with its line feeds and other control characters escaped."""
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), name)


def escape_name(name: str) -> str:
    """Return the name of a file for printing and hashing, in one line: bytes that are not UTF-8 are escaped."""
    try:
        return single_line(os.fsencode(name).decode("utf-8", "backslashreplace"))
    except UnicodeEncodeError:  # half of a UTF-16 pair, which a JSON file may have
        return single_line(name)


def abbreviate(names: Sequence[str], most: int = 5) -> str:
    """Return up to ``most`` names, in one line, and the number of the others."""
    shown = [shorten(single_line(name)) for name in names[:most]]
    return ", ".join(shown) + (f" and {len(names) - most:,} more" if len(names) > most else "") if names else "nothing"


def count_classes(number: int) -> str:
    """Return ``1 class``, or ``2 classes``."""
    return "1 class" if number == 1 else f"{number:,} classes"


def shorten(text: str, limit: int = MAX_NAME) -> str:
    """Return a text of at most ``limit`` characters, cut in the middle."""
    return text if len(text) <= limit else f"{text[: limit // 2 - 1]}...{text[len(text) - limit // 2 + 2 :]}"


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
