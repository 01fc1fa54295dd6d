"""What the user asked for and cannot have, said so that the next try works."""

import re
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher, get_close_matches
from enum import IntEnum
from typing import TypeVar

T = TypeVar("T")
MAX_NAMES = 40  # names, where none is near


class ExitCode(IntEnum):
    """The exit status of the command line, by the kind of what went wrong."""

    COMMAND = 2
    DATA = 3
    CHECKPOINT = 4
    NUMERICS = 5
    SPACE = 6
    DEVICE = 7
    INTERRUPTED = 130
    TERMINATED = 143


class UserError(Exception):
    """A user's error: one message that says what, why and the way out, and the exit status of its kind."""

    def __init__(self, message: str, status: ExitCode = ExitCode.COMMAND):
        super().__init__(message)
        self.status = status


class Interrupted(Exception):
    """The user, or the cluster, asked the run to end; what was done is saved."""

    def __init__(self, status: ExitCode):
        super().__init__()
        self.status = status


def lookup(table: Mapping[str, T], name: str, what: str) -> T:
    """``table[name]``, or a mistake that offers the nearest names."""
    if name in table:
        return table[name]
    raise UserError(explain_unknown(what, name, table))


def explain_unknown(what: str, name: str, known: Iterable[str]) -> str:
    """A sentence that offers names near ``name``: first those with the same last part (``lr`` for ``optim.lr``)."""
    known = list(known)
    near = [k for k in known if k.split(".")[-1] == name] or find_close_names(name, known)
    if near:
        return f"No {what} {name!r}. Did you mean {' or '.join(near)}?"
    if not known:
        return f"No {what} {name!r}: there are none."
    more = f" and {len(known) - MAX_NAMES} more" if len(known) > MAX_NAMES else ""
    return f"No {what} {name!r}. There are {', '.join(known[:MAX_NAMES])}{more}."


def rename_group(group: str, sentence: str) -> str:
    """A sentence about the options of ``data`` as one about those of ``group``, which describe a data set too."""
    return re.sub(r"\bdata([.=])", rf"{group}\1", sentence)


def find_close_names(name: str, known: list[str]) -> list[str]:
    """Up to three names about as near to ``name`` as the nearest is."""
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    likeness = [SequenceMatcher(None, name, k).ratio() for k in near]
    return [k for k, ratio in zip(near, likeness) if ratio > likeness[0] - 0.05]
