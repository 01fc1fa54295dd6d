"""Turn ``key=value`` overrides into a plain tree of options: choose the files, let Hydra compose them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vitrun.config import SINGLE_COMMANDS, data_args, protocols, recipe_file
from vitrun.config.overrides import (
    is_bracketed,
    is_function,
    is_quoted,
    split_list,
    split_override,
    split_values,
)
from vitrun.errors import UserError, lookup, suggest
from vitrun.recipes import DURATIONS, composition, options, tables, trees

DISCRIMINATORS = ("kind", "source", "task")  # options that a file of a group sets, and only it
# Groups whose files have the name of the file; those of timm have timm's
ROW_GROUPS = ("model", *tables.DATA_GROUPS)
# What Hydra calls a group whose files lie elsewhere, as data@against
HYDRA_KEYS = {group: f"{folder}@{group}" for group, folder in tables.GROUP_FOLDERS.items()}


@dataclass(frozen=True)
class Layers:
    """Choices and values that overrides and the protocol add to the command's file."""

    choices: dict[str, str]  # of groups: those of the overrides, the protocol, and those that it makes for the model
    entries: Sequence[protocols.ModelEntry]  # of the files, for the model
    values: dict[str, str]  # options that they set for it, but for those of the overrides


def compose_config(command: str, overrides: Sequence[str], weights: str | None = None) -> dict[str, Any]:
    """Return the plain tree of options after files and overrides; every override is known, and given once.

    Args:
        weights: The row of the model table that ``init`` is of, for which a protocol may have values.
    """
    pairs = parse_overrides(command, overrides)
    tree = compose_tree(command, pairs, weights)
    for name in DURATIONS:  # a duration on the command line replaces the one in the files, whatever its unit
        if name in tree and any(key in DURATIONS for key in pairs) and name not in pairs:
            tree[name] = None
    for group in ROW_GROUPS:
        if group in pairs and f"{group}.name" not in pairs:
            tables.check_row_name(tables.group_folder(group), pairs[group], tree[group])
    return tree


def parse_overrides(command: str, overrides: Sequence[str]) -> dict[str, str]:
    """Return ``{key: value}`` of overrides that are well formed, known to the command, no sweeps, and given once.

    Those of ``recipe=FILE`` are among them.
    """
    pairs: dict[str, str] = {}
    overrides = data_args.expand_bare_name(overrides) if command == "data" else overrides
    for override in overrides:
        key, value = split_override(command, override, overrides)
        if key in pairs:
            raise UserError(f"{key} is given twice, as {pairs[key]} and as {value}: keep one.")
        pairs[key] = value
    if pairs.get("unlabelled") == "null":  # the default, which is not a file of the group
        del pairs["unlabelled"]
    for key, value in pairs.items():
        check_value(command, key, value)
    if recipe_file.KEY not in pairs:
        check_keys(command, pairs)
        return pairs
    file = pairs.pop(recipe_file.KEY)
    below = recipe_file.read_recipe_file(file)
    if any(key in DURATIONS for key in pairs):
        below = {key: value for key, value in below.items() if key not in DURATIONS}
    try:
        for key, value in below.items():
            check_value(command, key, value)
        check_keys(command, below | pairs)
    except UserError as error:
        if error.option in pairs:
            raise
        raise UserError(f"In {file}: {error}", error.status, option=error.option) from None
    return below | pairs


def check_value(command: str, key: str, value: str) -> None:
    """Raise a UserError if a value is a reference, a sweep, or no choice of its group."""
    groups = tables.list_groups(command)
    if "${" in value:
        why = "write the value itself, not a reference to another."
        raise UserError(why, option=key, value=value)
    if command in SINGLE_COMMANDS and options.is_text(command, key):
        return
    several = len(split_values(value)) > 1 and not options.is_list(command, key)
    if several or is_function(value) and not options.is_text_list(command, key):
        part = "comma" if several else "bracket"
        quoted = f" Where the {part} belongs to the value, quote it twice: {key}=\"'...'\"" * options.is_text(
            command, key
        )
        over = f" over {len(split_values(value))} values" if several else ""
        why = f"{key}={value} is a sweep{over}: add -m to run every combination."
        raise UserError(why + quoted, option=key)
    if key in groups and key != "protocol":
        lookup(groups[key], value, key, key)
        tables.check_own_row(command, key, value)


def check_keys(command: str, pairs: dict[str, str]) -> None:
    """Raise a UserError about the first key that is not an option once the choices of ``pairs`` are made."""
    protocols.check_protocol(command, pairs)
    groups = tables.list_groups(command)
    known = list_known_options(command, {key: value for key, value in pairs.items() if key in groups})
    for key in pairs:
        group, _, name = key.partition(".")
        if key not in known and key in options.list_options(command) and group in groups:
            raise UserError(explain_other_choice(command, key, pairs.get(group)), option=key)
        if key == "model" and "init" in known:
            why = (
                f"No option 'model' here: the model comes with the weights, as in init=RUN or init=random:{pairs[key]}"
            )
            raise UserError(why, option=key)
        if key not in known:
            raise UserError(f"Unknown option {key!r}. {suggest(key, [*known, recipe_file.KEY])}", option=key)
        named = name == "name" and group in ROW_GROUPS and known.get(f"{group}.kind") != "timm"
        if named and known[key] in tables.UNNAMED_ROWS:
            check_own_name(key, pairs[key], str(known[key]))
        elif (name in DISCRIMINATORS or named) and pairs[key] != str(known[key]):
            why = f"comes with the choice of {group}=NAME, here {known[key]}: choose another of these."
            raise UserError(why, option=key, value=pairs[key])


def check_own_name(key: str, name: str, row: str) -> None:
    """Raise a UserError if an own data set is called like another one, or by nothing."""
    if name in ("", "null") or name != row and name in tables.list_group_files("data"):
        why = "is not a name for a set of your own" if name in ("", "null") else "is another data set"
        raise UserError(f"{why}: choose a name that `vitrun data` does not list.", option=key, value=name)


def explain_other_choice(command: str, key: str, chosen: str | None) -> str:
    """Return the message about an option that some choices of its group have, and this one does not."""
    group, _, name = key.partition(".")
    rows = tables.read_rows(tables.group_folder(group))
    having = [one for one, row in rows.items() if name.split(".")[0] in row]
    whose = f"{group}={chosen}" if chosen else f"the {group} here"
    more = " and others" * (len(having) > 3)
    return (
        f"No option {key!r} of {whose}: it is an option of {', '.join(f'{group}={one}' for one in having[:3])}{more}."
    )


def list_known_options(command: str, choices: dict[str, str]) -> dict[str, Any]:
    """Return the options of a command once the choices of its groups are made, with their values in the files."""
    tree = compose_tree(command, choices)
    return {**tables.list_groups(command), **{key: trees.get_value(tree, key) for key in trees.iterate_keys(tree)}}


def compose_tree(command: str, pairs: dict[str, str], weights: str | None = None) -> dict[str, Any]:
    """Return the plain tree that Hydra composes from the command's files and overrides, without metadata."""
    layers = choose_layers(command, pairs, weights)
    given = {key: value for key, value in pairs.items() if key not in layers.choices}
    try:
        tree = composition.compose(command, to_hydra_overrides(command, {**layers.choices, **layers.values, **given}))
    except composition.CompositionError:
        compose_files(command, layers.choices)
        wrong = [key for key in given if not composition.can_parse(*to_hydra_overrides(command, {key: given[key]}))]
        overrides = " ".join(f"{key}={value}" for key, value in pairs.items() if key in wrong or not wrong)
        why = f"{overrides} cannot be read: check its brackets, quotes and commas."
        raise UserError(why, option=wrong[0] if wrong else None) from None
    if "protocol" in tables.list_groups(command):
        tree = {key: value for key, value in tree.items() if key not in protocols.METADATA_KEYS}
    return {key: tables.drop_metadata(key, value) for key, value in tree.items()}


def choose_layers(command: str, pairs: dict[str, str], weights: str | None = None) -> Layers:
    """Return what overrides choose, with what they leave open: the protocol, and its values for the model."""
    groups = tables.list_groups(command)
    choices = {key: value for key, value in pairs.items() if key in groups}
    if "protocol" not in groups:
        return Layers(choices, (), {})
    choice = protocols.choose_recipe(command, pairs)
    choices["protocol"] = choice.protocol
    paths = [file.path for file in list_files(command, choices)]
    entries = protocols.list_model_entries(paths, choice.model or weights)
    model_pairs = {key: value for entry in entries for key, value in entry.pairs.items() if key not in pairs}
    values = {key: value for key, value in model_pairs.items() if key not in groups}
    choices |= {key: value for key, value in model_pairs.items() if key in groups}
    return Layers(choices, entries, values)


def list_files(command: str, choices: dict[str, str]) -> list[composition.ConfigFile]:
    """Return the files that choices of groups select, in the order in which they are merged."""
    with readable_files(choices):
        return composition.list_composed_files(command, to_hydra_overrides(command, choices))


def compose_files(command: str, choices: dict[str, str]) -> dict[str, Any]:
    """Return the tree of the files that choices of groups select, without any other override."""
    with readable_files(choices):
        return composition.compose(command, to_hydra_overrides(command, choices))


@contextmanager
def readable_files(choices: dict[str, str]) -> Iterator[None]:
    """Raise a UserError in place of Hydra's error about the files that choices of groups select."""
    try:
        yield
    except composition.CompositionError as error:
        shown = " ".join(f"{key}={value}" for key, value in choices.items())
        raise UserError(f"The files of {shown} do not fit together: {' '.join(str(error).split())}") from None


def quote_list(command: str, key: str, value: str) -> str:
    """Return a list in Hydra's grammar: in brackets, and if it is one of text with each in quotes."""
    if not options.is_text_list(command, key):
        return value if is_bracketed(value) else f"[{value}]"
    parts = split_list(value)
    if not all(parts):
        raise UserError("has an empty value: remove the extra comma.", option=key, value=value)
    return f"[{','.join(part if part == 'null' or is_quoted(part) else trees.quote_text(part) for part in parts)}]"


def to_hydra_overrides(command: str, pairs: dict[str, str]) -> list[str]:
    """Return overrides in Hydra's grammar: lists in brackets, free text quoted (a path may contain any character)."""
    overrides = []
    for key, value in pairs.items():
        if key in tables.list_groups(command):
            key = HYDRA_KEYS.get(key, key)
        elif options.is_list(command, key) and value != "null":
            value = quote_list(command, key, value)
        elif options.is_text(command, key) and value != "null" and not is_quoted(value):
            value = trees.quote_text(value)
        overrides.append(f"{key}={value}")
    return overrides
