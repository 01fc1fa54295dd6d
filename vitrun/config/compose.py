"""Turns ``key=value`` overrides into a plain tree of options."""

import re
from collections.abc import Sequence
from typing import Any

from vitrun.config import data_args, protocols
from vitrun.config.overrides import is_quoted, split_override, split_values
from vitrun.errors import UserError, lookup, suggest
from vitrun.recipes import DURATIONS, composition, options, tables, trees

METADATA_KEYS = ("row_for", "published")  # what files of protocols and recipes say of themselves, and no option
DISCRIMINATORS = (
    "kind",
    "source",
    "task",
)  # say which kind of model, optimizer or data set a file of their group describes
ROW_GROUPS = (
    "model",
    "data",
    "against",
)  # the groups whose files are rows with the name of the file; timm's have timm's
# How Hydra names a group whose files lie elsewhere, or set any options; and one that recipe files choose from too,
# so that a override adds its choice behind theirs.
HYDRA_KEYS = {"against": "data@against", "protocol": "protocol/{command}@_global_", "augment": "+augment"}


def compose_config(command: str, overrides: Sequence[str], weights: str | None = None) -> dict:
    """The plain tree of options after files and overrides, every override known and given once.

    ``weights``: the row of the model table that ``init`` is of, for which a recipe may have a file.
    """
    pairs = parse_overrides(command, overrides)
    tree = compose_tree(command, pairs, weights)
    for name in DURATIONS:  # a duration on the command line replaces the one in the files, whatever its unit
        if name in tree and any(key in DURATIONS for key in pairs) and name not in pairs:
            tree[name] = None
    for group in ROW_GROUPS:
        row = tree.get(group) if group in pairs else None
        if row and row.get("kind") != "timm" and row["name"] != pairs[group]:
            raise UserError(f"conf/{group}/{pairs[group]}.yaml has the name {row['name']}: write name: {pairs[group]}")
    return tree


def parse_overrides(command: str, overrides: Sequence[str]) -> dict[str, str]:
    """``{key: value}`` of overrides that are well formed, known to the command, no sweeps, and given once."""
    pairs = {}
    overrides = data_args.expand_bare_name(overrides) if command == "data" else overrides
    for override in overrides:
        key, value = split_override(command, override, overrides)
        if key in pairs:
            raise UserError(f"{key} is given twice, as {pairs[key]} and as {value}: keep one.")
        pairs[key] = value
    groups = tables.list_groups(command)
    for key, value in pairs.items():
        if "${" in value:
            raise UserError(f"{key}={value} cannot be: write the value itself, not a reference to another.")
        if len(split_values(value)) > 1 and not options.is_list(command, key):
            quoted = f" Where the comma is part of it, quote it twice: {key}=\"'...'\"" * options.is_text(command, key)
            raise UserError(
                f"{key}={value} is a sweep over {len(split_values(value))} values: add -m to run every combination."
                + quoted
            )
        if key in groups:
            lookup(groups[key], value, key, key)
    known = list_known_options(command, tuple((key, value) for key, value in pairs.items() if key in groups))
    for key in pairs:
        group, _, name = key.partition(".")
        if key not in known and key in options.list_options(command) and group in groups:
            raise UserError(explain_other_choice(command, key, pairs.get(group)))
        if key == "model" and "init" in known:
            raise UserError(
                f"No option 'model' here: the weights bring theirs, as in init=RUN or init=random:{pairs[key]}"
            )
        if key not in known:
            raise UserError(f"Unknown option {key!r}. {suggest(key, known)}", option=key)
        named = name == "name" and group in ROW_GROUPS and known.get(f"{group}.kind") != "timm"
        if (name in DISCRIMINATORS or named) and pairs[key] != str(known[key]):
            raise UserError(
                f"{key}={pairs[key]} cannot be: it comes with the choice of {group}=NAME, here {known[key]}."
            )
    protocols.check_protocol(command, pairs)
    return pairs


def explain_other_choice(command: str, key: str, chosen: str | None) -> str:
    """A sentence for an option that some choices of its group have, and this one has not."""
    group, _, name = key.partition(".")
    rows = tables.read_rows(tables.group_folder(command, group))
    having = [one for one, row in rows.items() if name.split(".")[0] in row]
    whose = f"{group}={chosen}" if chosen else f"the {group} here"
    more = " and others" * (len(having) > 3)
    return f"No option {key!r} of {whose}: it is one of {', '.join(f'{group}={one}' for one in having[:3])}{more}."


def list_known_options(command: str, chosen: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """The options that a command has once the choices of its groups are made, with their values in the files."""
    tree = compose_tree(command, dict(chosen))
    return {**tables.list_groups(command), **{key: trees.get_value(tree, key) for key in trees.iterate_keys(tree)}}


def compose_tree(command: str, pairs: dict[str, str], weights: str | None = None) -> dict:
    """Return the plain tree that Hydra composes from the command's files and overrides."""
    try:
        tree = composition.compose(
            command, (*to_hydra_overrides(command, pairs), *infer_overrides(command, pairs, weights))
        )
    except composition.CompositionError:
        overrides = " ".join(f"{key}={value}" for key, value in pairs.items())
        raise UserError(f"{overrides} cannot be read: check its brackets, quotes and commas.") from None
    return {key: tables.drop_metadata(key, value) for key, value in tree.items() if key not in METADATA_KEYS}


def to_hydra_overrides(command: str, pairs: dict[str, str]) -> list[str]:
    """The pairs in Hydra's grammar: lists in brackets, free text quoted (a path may hold any character)."""
    overrides = []
    for key, value in pairs.items():
        if key in tables.list_groups(command):
            key = HYDRA_KEYS.get(key, key).format(command=command)
        elif options.is_list(command, key) and not value.startswith("[") and value != "null":
            value = f"[{value}]"
        elif options.is_text(command, key) and value != "null" and not is_quoted(value):
            # Hydra reads a backslash as one, except before a quote, where it wants two.
            value = "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + m[2].replace("'", "\\'"), value) + "'"
        overrides.append(f"{key}={value}")
    return overrides


def infer_overrides(command: str, pairs: dict[str, str], weights: str | None) -> list[str]:
    """In Hydra's grammar what the pairs leave open: the protocol, and its row for just these weights."""
    if "protocol" not in tables.list_groups(command):
        return []
    row = protocols.choose_row(command, pairs)
    overrides = [f"{HYDRA_KEYS['protocol'].format(command=command)}={row.protocol}"] * ("protocol" not in pairs)
    file = protocols.find_weights_recipe(command, row, weights)
    return overrides + [f"recipe/{command}@_global_={file}"] * (file is not None)


def list_config_files(command: str, pairs: dict[str, str], weights: str | None = None) -> list[composition.ConfigFile]:
    """The files that make a recipe, the later over the earlier: path in ``conf/``, part that it sets, who names it."""
    chosen = {key: value for key, value in pairs.items() if key in tables.list_groups(command)}
    return composition.list_composed_files(
        command, (*to_hydra_overrides(command, chosen), *infer_overrides(command, chosen, weights))
    )
