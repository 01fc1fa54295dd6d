"""Options of a command and their values, for its help and for shell completion."""

from collections.abc import Sequence
from textwrap import wrap

from vitrun.config import compose, data_args, recipe_file
from vitrun.recipes import options, tables, trees

LINE_WIDTH, VALUES_COLUMN = 100, 32  # characters: of a line, and before the allowed values of an option


def describe_options(command: str) -> str:
    """Return the options of a command as overrides with their values, and the choices of each of its groups."""
    groups = tables.list_groups(command)
    tree = compose.compose_config(command, [])
    keys = [key for key in trees.iterate_keys(tree) if key not in groups]
    lines = ["Options, with their values:"]
    lines += [format_option(command, key, trees.get_value(tree, key)) for key in keys]
    others = [f"{key}=" for key in options.list_options(command) if key not in keys and key not in groups]
    if others:
        lines += ["", "Options of other choices:"]
        lines += wrap("  ".join(others), LINE_WIDTH, initial_indent="  ", subsequent_indent="  ")
    choices = {f"{group}=": names for group, names in groups.items()}
    if command == "data":
        choices = {"NAME": data_args.list_datasets()}
    lines += ["", f"{recipe_file.KEY}=FILE reads options of your own from a YAML file, under those that are typed."]
    for title, names in choices.items():
        width = max(map(len, names))
        lines += ["", f"Choices of {title}:"]
        lines += [f"  {name.ljust(width)}  {header}" for name, header in names.items()]
    return "\n".join(lines)


def format_option(command: str, key: str, value: object) -> str:
    """Return an option as an override with its value, and its allowed values if there is a list of them."""
    override = f"  {key}={trees.format_value(value)}"
    allowed = options.list_allowed_values(command, key)
    return f"{override.ljust(VALUES_COLUMN)}  {' | '.join(allowed)}" if len(allowed) > 1 else override


def list_completions(command: str, typed: Sequence[str]) -> list[str]:
    """Return the possible overrides after those ``typed``: options, and the choices of groups.

    Bash splits ``model=vi`` into ``model``, ``=`` and ``vi`` (and drops a trailing ``=``); other shells do not.
    """
    keys = [f"{key}=" for key in (*options.list_options(command), recipe_file.KEY)]
    if command == "data":
        return keys if typed else list(data_args.list_datasets())
    groups = tables.list_groups(command)
    before, last = ["", "", *typed][-2:]
    if last == "=":
        return list(groups.get(before, []))
    if last and before != "=" and "=" not in last:
        return list(groups.get(last, []))
    return [f"{group}={name}" for group, names in groups.items() for name in names] + keys
