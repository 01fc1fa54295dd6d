"""Where every option of a recipe got its value: the file, the word, or the run behind ``init``."""

import shlex
from collections.abc import Sequence
from typing import Any

from vitrun.config import compose
from vitrun.recipes import tables, trees
from vitrun.runs import lookup

COMMAND_LINE = "command line"
BROUGHT = {  # where no file or word is
    "data": "the run that init names",
    "view": "the run that init names, or all of the image",
    "against": "data, whose test part it is",
}


def show(verb: str, words: Sequence[str], recipe: Any) -> str:
    """Every option as a pasteable word, with the file or word that set it; first the choices of groups."""
    own, tree = brought(verb, words), trees.plain(recipe)
    where = of(verb, [word for word in words if word not in own], lookup.behind(recipe))
    where |= {word.partition("=")[0]: COMMAND_LINE for word in own}
    chosen = {
        group: where[group] if group in where else (tree[group]["name"], BROUGHT[group])
        for group in tables.groups(verb)
        if tree[group] is not None
    }
    found = [(group, *choice) for group, choice in chosen.items()]
    found += [
        (key, trees.show_value(trees.reach(tree, key)), where.get(key) or BROUGHT[key.split(".")[0]])
        for key in trees.leaves(tree)
        if key not in tables.groups(verb)
    ]
    return "\n".join(f"{shlex.quote(f'{key}={value}').ljust(48)}  # {source}" for key, value, source in found)


def brought(verb: str, words: Sequence[str]) -> list[str]:
    """The words about the data that ``init`` brings: those of ``eval`` where no word names a data set."""
    if verb != "eval" or any(word.startswith("data=") for word in words):
        return []
    return [word for word in words if word.startswith("data.")]


def of(verb: str, words: Sequence[str], weights: str | None) -> dict[str, Any]:
    """Where each option got its value: the last file, or the word, that set it; for a group its choice too."""
    pairs = compose.parse(verb, words)
    found: dict[str, Any] = {}
    for path, package, parent in compose.files(verb, pairs, weights):
        tree = tables.read_file(path)
        prefix = f"{package}." if package else ""
        told = [key for key in trees.leaves(tree) if key[:5] != "view." or trees.reach(tree, key) is not None]
        found |= {f"{prefix}{key}": f"conf/{path}.yaml" for key in told}
        for group in tables.groups(verb):
            folder = tables.folder(verb, group)
            if path.startswith(f"{folder}/") and package.partition(".")[0] == ("" if group == "protocol" else group):
                choice = path.removeprefix(f"{folder}/")
                found[group] = (choice, COMMAND_LINE if group in pairs else f"conf/{parent}.yaml")
            elif group not in pairs and any(f"override /{group}" in item for item in tree.get("defaults", ())):
                found[group] = (found[group][0], f"conf/{path}.yaml")
    return found | {key: COMMAND_LINE for key in pairs if key not in tables.groups(verb)}
