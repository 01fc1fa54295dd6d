"""Grammar of overrides: ``KEY=VALUE``, what its commas mean, and the jobs that they make."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from itertools import product
from math import prod

from vitrun.errors import UserError, suggest
from vitrun.recipes import composition, options, tables

FUNCTION = re.compile(r"(range|choice|glob|shuffle|sort)\(")  # of Hydra's sweeps
QUOTES, BRACKETS = "'\"", {"[": "]", "(": ")", "{": "}"}
QUOTED = {quote: re.compile(rf"(?:\\.|[^\\{quote}])*{quote}", re.DOTALL) for quote in QUOTES}  # behind the first quote
OVERRIDE = re.compile(r"([A-Za-z_][\w.]*)=(.*)", re.DOTALL)
MAX_LENGTH = 8_000  # characters of an override; a path has at most 4,096
MAX_DIGITS = 400
MAX_JOBS = 1_000  # of a sweep


def split_override(command: str, override: str, overrides: Sequence[str]) -> tuple[str, str]:
    """Return ``key`` and ``value`` of an override; raise a UserError with the right spelling if it is malformed."""
    check_length(override)
    match = OVERRIDE.fullmatch(override)
    if match and match[2]:
        return match[1], match[2]
    if override[:1] in "+~":
        raise UserError(
            f"{override}: the set of options is closed; write KEY=VALUE. `vitrun {command} --cfg` prints them all."
        )
    key, _, value = override.lstrip("-").partition("=")
    following = overrides[list(overrides).index(override) + 1 :]
    if match and (not following or OVERRIDE.fullmatch(following[0])):
        raise UserError(f"{override} has no value: write it after the =, or leave {key} out.")
    if not value:  # "--lr 0.1" and "lr = 0.1" come as several overrides
        value = next((text for text in following if text != "="), "...").removeprefix("=")
    known = [*options.list_options(command), *tables.list_groups(command)]
    right = next(
        (name for name in (*known, *get_close_matches(key, known, 1)) if key in (name, name.split(".")[-1])), None
    )
    if right is None:
        raise UserError(f"{override!r} is not KEY=VALUE. Unknown option {key!r}. {suggest(key, known)}")
    raise UserError(f"{override!r} is not KEY=VALUE: options have no dashes and no spaces. Write {right}={value}")


def check_length(override: str) -> None:
    """Raise a UserError about an override that nothing could take: too long, or no text."""
    key, _, value = override.partition("=")
    shown = f"{key}=" if OVERRIDE.match(override) and len(key) < 100 else repr(override[:50])
    if len(override) > MAX_LENGTH:
        raise UserError(f"{shown} has {len(override):,} characters: at most {MAX_LENGTH:,}.", option=key)
    if longest := max(map(len, re.findall(rf"\d{{{MAX_DIGITS},}}", value)), default=0):
        raise UserError(f"{shown} has a number of {longest:,} digits: at most {MAX_DIGITS - 1}.", option=key)
    if "\0" in override:
        raise UserError(f"{shown} has a null character: remove it.", option=key)


def split_values(text: str) -> list[str]:
    """Return the parts of ``text`` between commas outside brackets and quotes.

    A bracket that is not closed is a character like others, as is a quote within a word: a path may have both.
    """
    parts, start, place, ends = [], 0, 0, find_ends(text)
    while place < len(text):
        if text[place] == ",":
            parts.append(text[start:place])
            start = place + 1
        place = ends[place]
    return [*parts, text[start:]]


@lru_cache(maxsize=64)
def find_ends(text: str) -> list[int]:
    """Return for each place where what begins there ends: the text in quotes or brackets, or one character."""
    ends = list(range(1, len(text) + 1))
    for start in range(len(text) - 1, -1, -1):  # from the right: what lies within has its end already
        if text[start] in QUOTES and text[:start].rstrip(" ")[-1:] in ("", *"[(,"):
            closed = QUOTED[text[start]].match(text, start + 1)
            ends[start] = closed.end() if closed else start + 1
        elif text[start] in BRACKETS and text.find(BRACKETS[text[start]], start) > 0:
            place = start + 1
            while place < len(text) and text[place] != BRACKETS[text[start]]:
                place = ends[place]
            ends[start] = place + 1 if place < len(text) else start + 1
    return ends


def find_end(text: str, start: int) -> int:
    """Return where what begins at ``start`` ends: the text in quotes or brackets, or one character."""
    return find_ends(text)[start]


def is_quoted(text: str) -> bool:
    """Return whether a value is in quotes."""
    return text[:1] in (*QUOTES,) and find_end(text, 0) == len(text) > 1


def is_bracketed(text: str) -> bool:
    """Return whether a value is a list in brackets."""
    return text.startswith("[") and find_end(text, 0) == len(text) > 1


def split_list(text: str) -> list[str]:
    """Return the values of a list, with brackets or without."""
    inner = text[1:-1] if is_bracketed(text) else text
    return [part.strip() for part in split_values(inner)] if inner.strip() else []


def is_function(value: str) -> bool:
    """Return whether a value is a sweep by a function of Hydra's, as ``range(0,5)``."""
    return bool(FUNCTION.match(value)) and find_end(value, value.index("(")) == len(value)


def expand_function(command: str, key: str, value: str) -> list[str]:
    """Return the values of ``range(0,5)``, ``choice(a,b)`` or ``glob(vit_*)``, as Hydra's grammar has them."""
    if value.startswith("choice(") and value.endswith(")"):  # Hydra's has no null
        return split_list(value.removeprefix("choice(")[:-1])
    names = tables.list_groups(command).get(key)
    if value.startswith("glob(") and names is None:
        groups = ", ".join(tables.list_groups(command))
        raise UserError(f"glob chooses among the files of {groups}: list the values instead.", option=key, value=value)
    try:
        values = composition.parse_sweep(f"{key}={value}", list(names or ()), MAX_JOBS + 1)
    except composition.CompositionError as error:
        raise UserError(f"is not a sweep of Hydra's: {error}", option=key, value=value) from None
    if not values:
        raise UserError("matches nothing.", option=key, value=value)
    return values


def expand_sweep(command: str, overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each job of a sweep: ``seed=0,1`` becomes two jobs."""
    axes = []
    for override in overrides:
        key, value = split_override(command, override, overrides)
        sweep = split_values(value)
        if is_function(value):
            sweep = expand_function(command, key, value)
        elif options.is_list(command, key) and not is_bracketed(sweep[0]):
            sweep = [value]
        if len(sweep) <= MAX_JOBS and (repeated := [text for text in sweep if sweep.count(text) > 1]):
            raise UserError(f"{override}: the list has {repeated[0]} twice: keep one.")
        if not all(sweep):
            raise UserError(f"{override}: the sweep has an empty value: remove the extra comma.")
        axes.append([f"{key}={text}" for text in sweep])
        if (jobs := prod(map(len, axes))) > MAX_JOBS:
            raise UserError(f"{override} makes {jobs:,} jobs: at most {MAX_JOBS:,}.", option=key)
    return [list(job) for job in product(*axes)]


def expand_data_list(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of ``vitrun fewshot`` for each data set: there, commas in ``data`` are not a sweep."""
    listed = next(
        (override for override in overrides if override.startswith("data=") and len(split_values(override[5:])) > 1),
        None,
    )
    if listed is None:
        return [list(overrides)]
    jobs = expand_sweep("fewshot", [listed])
    if path := next((override for override in overrides if override.startswith("data.path=")), None):
        raise UserError(
            f"{path} is the folder of one data set, but {listed} names several: run each that needs a path alone."
        )
    return [[job[0] if override is listed else override for override in overrides] for job in jobs]
