"""Turns ``key=value`` words into a recipe. The only module that calls Hydra."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from vitrun.config import data_args, overrides, protocols
from vitrun.errors import Mistake, pick, unknown
from vitrun.recipes import DURATIONS, options, tables, trees

ABOUT = ("row_for", "published")  # what files of protocols and recipes say of themselves, and no option
TAGS = ("kind", "source", "task")  # say which kind of model, optimizer or data set a file of their group describes
ROWS = ("model", "data", "against")  # the groups whose files are rows with the name of the file; timm's have timm's
# How Hydra names a group whose files lie elsewhere, or set any options; and one that recipe files choose from too,
# so that a word adds its choice behind theirs.
KEYS = {"against": "data@against", "protocol": "protocol/{verb}@_global_", "augment": "+augment"}


def compose(verb: str, words: Sequence[str], weights: str | None = None) -> dict:
    """The plain tree of options after files and words, every word known and given once.

    ``weights``: the row of the model table that ``init`` is of, for which a recipe may have a file.
    """
    from omegaconf import OmegaConf

    pairs = parse(verb, words)
    tree = OmegaConf.to_container(hydra_tree(verb, pairs, weights), resolve=True)
    for name in DURATIONS:  # a duration on the command line replaces the one in the files, whatever its unit
        if name in tree and any(key in DURATIONS for key in pairs) and name not in pairs:
            tree[name] = None
    for group in ROWS:
        row = tree.get(group) if group in pairs else None
        if row and row.get("kind") != "timm" and row["name"] != pairs[group]:
            raise Mistake(f"conf/{group}/{pairs[group]}.yaml has the name {row['name']}: write name: {pairs[group]}")
    return tree


def parse(verb: str, words: Sequence[str]) -> dict[str, str]:
    """``{key: value}`` of words that are well formed, known to the verb, no sweeps, and given once."""
    pairs = {}
    words = data_args.spelt(words) if verb == "data" else words
    for word in words:
        key, value = overrides.split(verb, word, words)
        if key in pairs:
            raise Mistake(f"{key} is given twice, as {pairs[key]} and as {value}: keep one.")
        pairs[key] = value
    groups = tables.groups(verb)
    for key, value in pairs.items():
        if "${" in value:
            raise Mistake(f"{key}={value} cannot be: write the value itself, not a reference to another.")
        if len(overrides.values(value)) > 1 and not options.is_list(verb, key):
            quoted = f" Where the comma is part of it, quote it twice: {key}=\"'...'\"" * options.is_text(verb, key)
            raise Mistake(
                f"{key}={value} is a sweep over {len(overrides.values(value))} values: add -m to run every combination."
                + quoted
            )
        if key in groups:
            pick(groups[key], value, key)
    known = known_to(verb, tuple((key, value) for key, value in pairs.items() if key in groups))
    for key in pairs:
        group, _, name = key.partition(".")
        if key not in known and key in options.options(verb) and group in groups:
            raise Mistake(other_choice(verb, key, pairs.get(group)))
        if key == "model" and "init" in known:
            raise Mistake(
                f"No option 'model' here: the weights bring theirs, as in init=RUN or init=random:{pairs[key]}"
            )
        if key not in known:
            raise Mistake(unknown("option", key, known))
        named = name == "name" and group in ROWS and known.get(f"{group}.kind") != "timm"
        if (name in TAGS or named) and pairs[key] != str(known[key]):
            raise Mistake(f"{key}={pairs[key]} cannot be: it comes with the choice of {group}=NAME, here {known[key]}.")
    protocols.check(verb, pairs)
    return pairs


def other_choice(verb: str, key: str, chosen: str | None) -> str:
    """A sentence for an option that some choices of its group have, and this one has not."""
    group, _, name = key.partition(".")
    place = tables.folder(verb, group)
    having = [one for one in tables.groups(verb)[group] if name.split(".")[0] in tables.read_file(f"{place}/{one}")]
    whose = f"{group}={chosen}" if chosen else f"the {group} here"
    more = " and others" * (len(having) > 3)
    return f"No option {key!r} of {whose}: it is one of {', '.join(f'{group}={one}' for one in having[:3])}{more}."


@cache
def known_to(verb: str, chosen: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """The options that a verb has once the choices of its groups are made, with their values in the files."""
    tree = hydra_tree(verb, dict(chosen))
    return {**tables.groups(verb), **{key: trees.reach(tree, key) for key in trees.leaves(tree)}}


def hydra_tree(verb: str, pairs: dict[str, str], weights: str | None = None) -> Any:
    """What Hydra composes from the verb's files and overrides."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        return composed(verb, (*in_hydras_grammar(verb, pairs), *left_open(verb, pairs, weights)))
    except (HydraException, OmegaConfBaseException):
        words = " ".join(f"{key}={value}" for key, value in pairs.items())
        raise Mistake(f"{words} cannot be read: check its brackets, quotes and commas.") from None


@cache
def composed(verb: str, words: tuple[str, ...]) -> Any:
    """Hydra's answer, which takes it a tenth of a second."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import open_dict

    with initialize_config_dir(str(tables.CONF), version_base="1.3"):
        found = hydra_compose(verb, list(words))
    with open_dict(found):
        for key in ABOUT:
            found.pop(key, None)
    return found


def in_hydras_grammar(verb: str, pairs: dict[str, str]) -> list[str]:
    """The pairs in Hydra's grammar: lists in brackets, free text quoted (a path may hold any character)."""
    words = []
    for key, value in pairs.items():
        if key in tables.groups(verb):
            key = KEYS.get(key, key).format(verb=verb)
        elif options.is_list(verb, key) and not value.startswith("[") and value != "null":
            value = f"[{value}]"
        elif options.is_text(verb, key) and value != "null" and not overrides.quoted(value):
            # Hydra reads a backslash as one, except before a quote, where it wants two.
            value = "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + m[2].replace("'", "\\'"), value) + "'"
        words.append(f"{key}={value}")
    return words


def left_open(verb: str, pairs: dict[str, str], weights: str | None) -> list[str]:
    """In Hydra's grammar what the pairs leave open: the protocol, and its row for just these weights."""
    if "protocol" not in tables.groups(verb):
        return []
    row = protocols.chosen(verb, pairs)
    words = [f"{KEYS['protocol'].format(verb=verb)}={row.protocol}"] * ("protocol" not in pairs)
    file = protocols.for_weights(verb, row, weights)
    return words + [f"recipe/{verb}@_global_={file}"] * (file is not None)


def files(verb: str, pairs: dict[str, str], weights: str | None = None) -> list[tuple[str, str, str]]:
    """The files that make a recipe, the later over the earlier: path in ``conf/``, part that it sets, who names it."""
    chosen = {key: value for key, value in pairs.items() if key in tables.groups(verb)}
    return listed(verb, (*in_hydras_grammar(verb, chosen), *left_open(verb, chosen, weights)))


@cache
def listed(verb: str, words: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Hydra's list of files."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    with initialize_config_dir(str(tables.CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        found = loader.compute_defaults_list(verb, list(words), RunMode.RUN).defaults
    return [(f.config_path, f.package, f.parent) for f in found if not f.config_path.startswith("hydra/")]
