"""The grammar of words: ``KEY=VALUE``, what its commas mean, and the jobs that they make."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import product

from vitrun.errors import Mistake, unknown
from vitrun.recipes import options, tables

WORD = re.compile(r"([A-Za-z_][\w.]*)=(.*)", re.DOTALL)


def split(verb: str, word: str, words: Sequence[str]) -> tuple[str, str]:
    """``key`` and ``value`` of a word; a Mistake that shows the right spelling where it is written otherwise."""
    match = WORD.fullmatch(word)
    if match and match[2]:
        return match[1], match[2]
    if word[:1] in "+~":
        raise Mistake(f"{word} cannot be: the set of options is closed. `vitrun {verb} --cfg` prints them all.")
    key, _, value = word.lstrip("-").partition("=")
    behind = words[list(words).index(word) + 1 :]
    if match and (not behind or WORD.fullmatch(behind[0])):
        raise Mistake(f"{word} has no value: write it behind the =, or leave {key} out.")
    if not value:  # "--lr 0.1" and "lr = 0.1" come as several words
        value = next((w for w in behind if w != "="), "...").removeprefix("=")
    known = [*options.options(verb), *tables.groups(verb)]
    right = next((k for k in (*known, *get_close_matches(key, known, 1)) if key in (k, k.split(".")[-1])), None)
    if right is None:
        raise Mistake(f"{word!r} is not KEY=VALUE. {unknown('option', key, known)}")
    raise Mistake(f"{word!r} is not KEY=VALUE: options have no dashes and no spaces. Write {right}={value}")


def values(text: str) -> list[str]:
    """The parts of ``text`` between commas that stand outside brackets and quotes."""
    if quoted(text):
        return [text]
    return re.findall(r"(?:\[[^\]]*\]|\([^)]*\)|[^,\[(])+", text)


def quoted(text: str) -> bool:
    """Whether a value stands in quotes."""
    return len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]


def expand(verb: str, words: Sequence[str]) -> list[list[str]]:
    """One list of words for each job of a sweep: ``seed=0,1`` becomes ``seed=0`` and ``seed=1``."""
    axes = []
    for word in words:
        key, value = split(verb, word, words)
        sweep = values(value)
        if options.is_list(verb, key) and not value.startswith("["):
            sweep = [value]
        if repeated := [v for v in sweep if sweep.count(v) > 1]:
            raise Mistake(f"{word}: the list has {repeated[0]} twice: keep one.")
        if ",".join(sweep) != value:
            raise Mistake(f"{word}: the sweep has an empty value: take out the comma too many.")
        axes.append([f"{key}={v}" for v in sweep])
    return [list(job) for job in product(*axes)]


def by_data(words: Sequence[str]) -> list[list[str]]:
    """The words of ``vitrun fewshot`` for each data set: commas in ``data`` make a list there, and no sweep."""
    listed = next((word for word in words if word.startswith("data=") and len(values(word[5:])) > 1), None)
    if listed is None:
        return [list(words)]
    jobs = expand("fewshot", [listed])
    if path := next((word for word in words if word.startswith("data.path=")), None):
        raise Mistake(f"{path} cannot be with {listed}: the images of which? Give data sets with a path one at a time.")
    return [[job[0] if word is listed else word for word in words] for job in jobs]
