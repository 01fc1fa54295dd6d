"""Where every option of a recipe got its value: the file, the override, or the run behind ``init``."""

import shlex
from collections.abc import Sequence
from typing import Any

from vitrun.config import compose
from vitrun.recipes import composition, tables, trees
from vitrun.runs import lookup

COMMAND_LINE = "command line"
IMPLIED_SOURCES = {  # where no file or override is
    "data": "the run that init names",
    "view": "the run that init names, or all of the image",
    "against": "data, whose test part it is",
}


def format_config(command: str, overrides: Sequence[str], recipe: Any) -> str:
    """Every option as a pasteable override, with the file or override that set it; first the choices of groups."""
    own, tree = select_init_data_overrides(command, overrides), trees.to_plain_tree(recipe)
    where = trace_sources(
        command, [override for override in overrides if override not in own], lookup.model_row_of(recipe)
    )
    where |= {override.partition("=")[0]: COMMAND_LINE for override in own}
    chosen = {
        group: where[group] if group in where else (tree[group]["name"], IMPLIED_SOURCES[group])
        for group in tables.list_groups(command)
        if tree[group] is not None
    }
    found = [(group, *choice) for group, choice in chosen.items()]
    found += [
        (key, trees.format_value(trees.get_value(tree, key)), where.get(key) or IMPLIED_SOURCES[key.split(".")[0]])
        for key in trees.iterate_keys(tree)
        if key not in tables.list_groups(command)
    ]
    return "\n".join(f"{shlex.quote(f'{key}={value}').ljust(48)}  # {source}" for key, value, source in found)


def select_init_data_overrides(command: str, overrides: Sequence[str]) -> list[str]:
    """The overrides about the data that ``init`` brings: those of ``eval`` where no override names a data set."""
    if command != "eval" or any(override.startswith("data=") for override in overrides):
        return []
    return [override for override in overrides if override.startswith("data.")]


def trace_sources(command: str, overrides: Sequence[str], weights: str | None) -> dict[str, Any]:
    """Where each option got its value: the last file, or the override, that set it; for a group its choice too."""
    pairs = compose.parse_overrides(command, overrides)
    found: dict[str, Any] = {}
    for path, package, parent in compose.list_config_files(command, pairs, weights):
        tree = composition.read_config_file(path)
        prefix = f"{package}." if package else ""
        told = [key for key in trees.iterate_keys(tree) if key[:5] != "view." or trees.get_value(tree, key) is not None]
        found |= {f"{prefix}{key}": f"conf/{path}.yaml" for key in told}
        for group in tables.list_groups(command):
            folder = tables.group_folder(command, group)
            if path.startswith(f"{folder}/") and package.partition(".")[0] == ("" if group == "protocol" else group):
                choice = path.removeprefix(f"{folder}/")
                found[group] = (choice, COMMAND_LINE if group in pairs else f"conf/{parent}.yaml")
            elif group not in pairs and any(f"override /{group}" in item for item in tree.get("defaults", ())):
                found[group] = (found[group][0], f"conf/{path}.yaml")
    return found | {key: COMMAND_LINE for key in pairs if key not in tables.list_groups(command)}
