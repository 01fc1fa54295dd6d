"""What a verb can be told, for its help and for the completion of words."""

from collections.abc import Sequence
from textwrap import wrap

from vitrun.config import compose, data_args
from vitrun.recipes import options, tables, trees

WIDTH, PLACE = 100, 32  # characters of a line, and before the words that an option takes


def describe(verb: str) -> str:
    """The options of a verb as words with their values, and the choices of each of its groups."""
    tree = compose.compose(verb, [])
    offered = {f"{group}=": names for group, names in tables.groups(verb).items()}
    if verb == "data":
        offered = {"NAME": data_args.named()}
    lines = ["Options, with their values:"]
    keys = [key for key in trees.leaves(tree) if key not in tables.groups(verb)]
    lines += [option(verb, key, trees.reach(tree, key)) for key in keys]
    others = [f"{key}=" for key in options.options(verb) if key not in keys and key not in tables.groups(verb)]
    if others:
        lines += ["", "Options that other choices have:"]
        lines += wrap("  ".join(others), WIDTH, initial_indent="  ", subsequent_indent="  ")
    for what, files in offered.items():
        lines += ["", f"Choices of {what}:"]
        width = max(map(len, files))
        lines += [f"  {name.ljust(width)}  {about}" for name, about in files.items()]
    return "\n".join(lines)


def option(verb: str, key: str, value: object) -> str:
    """An option as a word with its value, and the words that it takes where it takes no others."""
    word = f"  {key}={trees.show_value(value)}"
    words = options.allowed(verb, key)
    return f"{word.ljust(PLACE)}  {' | '.join(words)}" if len(words) > 1 else word


def complete(verb: str, typed: Sequence[str]) -> list[str]:
    """The words that may come behind those typed: options, and the files of a group.

    Bash cuts ``model=vi`` into ``model``, ``=`` and ``vi`` (and drops a trailing ``=``); other shells do not cut.
    """
    keys = [f"{key}=" for key in options.options(verb)]
    if verb == "data":
        return keys if typed else list(data_args.named())
    files = tables.groups(verb)
    before, last = ["", "", *typed][-2:]
    if last == "=":
        return list(files.get(before, []))
    if last and before != "=" and "=" not in last:
        return list(files.get(last, []))
    return [f"{group}={name}" for group, names in files.items() for name in names] + keys
