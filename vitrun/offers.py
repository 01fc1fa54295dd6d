"""What a verb can be told, for its help and for the completion of words."""

from collections.abc import Sequence

from vitrun import choices, config, rows


def describe(verb: str) -> str:
    """The options of a verb as words with their values, and the choices of each of its groups."""
    tree = config.compose(verb, [])
    offered = {f"{group}=": names for group, names in choices.groups(verb).items()}
    if verb == "data":
        offered = {"NAME": rows.named()}
    lines = ["Options, with their values:"]
    keys = [key for key in choices.leaves(tree) if key not in choices.groups(verb)]
    lines += [f"  {key}={choices.show_value(choices.reach(tree, key))}" for key in keys]
    for what, files in offered.items():
        lines += ["", f"Choices of {what}:"]
        width = max(map(len, files))
        lines += [f"  {name.ljust(width)}  {about}" for name, about in files.items()]
    return "\n".join(lines)


def complete(verb: str, typed: Sequence[str]) -> list[str]:
    """The words that may come behind those typed: options, and the files of a group.

    Bash cuts ``model=vi`` into ``model``, ``=`` and ``vi`` (and drops a trailing ``=``); other shells do not cut.
    """
    options = [f"{key}=" for key in choices.options(verb)]
    if verb == "data":
        return options if typed else list(rows.named())
    files = choices.groups(verb)
    before, last = ["", "", *typed][-2:]
    if last == "=":
        return list(files.get(before, []))
    if last and before != "=" and "=" not in last:
        return list(files.get(last, []))
    return [f"{group}={name}" for group, names in files.items() for name in names] + options
