"""What a command can be told, for its help and for the completion of overrides."""

from collections.abc import Sequence
from textwrap import wrap

from vitrun.config import compose, data_args
from vitrun.recipes import options, tables, trees

LINE_WIDTH, VALUES_COLUMN = 100, 32  # characters of a line, and before the overrides that an option takes


def describe_options(command: str) -> str:
    """The options of a command as overrides with their values, and the choices of each of its groups."""
    tree = compose.compose_config(command, [])
    offered = {f"{group}=": names for group, names in tables.list_groups(command).items()}
    if command == "data":
        offered = {"NAME": data_args.list_datasets()}
    lines = ["Options, with their values:"]
    keys = [key for key in trees.iterate_keys(tree) if key not in tables.list_groups(command)]
    lines += [format_option(command, key, trees.get_value(tree, key)) for key in keys]
    others = [
        f"{key}=" for key in options.list_options(command) if key not in keys and key not in tables.list_groups(command)
    ]
    if others:
        lines += ["", "Options that other choices have:"]
        lines += wrap("  ".join(others), LINE_WIDTH, initial_indent="  ", subsequent_indent="  ")
    for what, files in offered.items():
        lines += ["", f"Choices of {what}:"]
        width = max(map(len, files))
        lines += [f"  {name.ljust(width)}  {about}" for name, about in files.items()]
    return "\n".join(lines)


def format_option(command: str, key: str, value: object) -> str:
    """An option as a override with its value, and the overrides that it takes where it takes no others."""
    override = f"  {key}={trees.format_value(value)}"
    overrides = options.list_allowed_values(command, key)
    return f"{override.ljust(VALUES_COLUMN)}  {' | '.join(overrides)}" if len(overrides) > 1 else override


def list_completions(command: str, typed: Sequence[str]) -> list[str]:
    """The overrides that may come behind those typed: options, and the files of a group.

    Bash cuts ``model=vi`` into ``model``, ``=`` and ``vi`` (and drops a trailing ``=``); other shells do not cut.
    """
    keys = [f"{key}=" for key in options.list_options(command)]
    if command == "data":
        return keys if typed else list(data_args.list_datasets())
    files = tables.list_groups(command)
    before, last = ["", "", *typed][-2:]
    if last == "=":
        return list(files.get(before, []))
    if last and before != "=" and "=" not in last:
        return list(files.get(last, []))
    return [f"{group}={name}" for group, names in files.items() for name in names] + keys
