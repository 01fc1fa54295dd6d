"""Which file a run's recipe is, and what its words change of it: what the first screen says."""

from collections.abc import Sequence
from typing import Any

from vitrun.config import compose, provenance
from vitrun.recipes import DURATIONS, RECIPES, tables, trees
from vitrun.runs import lookup

NAMING = ("protocol", "model", "data")  # the choices that name a recipe; all other words change it
APART = ("seed", "init", "data.path", "data.root")  # what no recipe says


def marks(verb: str, words: Sequence[str], recipe: Any) -> list[str]:
    """The line that names the recipe of a verb that has protocols, and one for every word that differs from it.

    What its paper ran too, as the recipe's files list it, is told from what it did not.
    """
    if "protocol" not in tables.groups(verb):
        return []
    pairs, weights = compose.parse(verb, words), lookup.behind(recipe)
    naming = {key: value for key, value in pairs.items() if key in NAMING}
    files = recipe_files(verb, naming, weights)
    about = tables.header(tables.CONF / f"{files[-1]}.yaml").rstrip(".")
    if len(files) == 1 and set(tables.read_file(files[0])) <= {"protocol", *compose.ABOUT}:  # nothing to differ from
        return [f"recipe: conf/{verb}.yaml ({about})"]
    named = [f"{key}={value}" for key, value in naming.items()]
    there, now = (values(verb, some, weights) for some in (named, words))
    differ = [key for key in pairs if key not in (*NAMING, *APART, *RECIPES[verb].how) and now[key] != there.get(key)]
    differ = [key for key in differ if not (key.startswith("data.") and there.get(key, "") is None)]
    ran = [some for some in variants(verb, named, files, weights, differ) if some.items() <= now.items()]
    published = {key for some in ran for key in some}

    def mark(key: str) -> str:
        what = "a published variant" if key in published else "differs from the recipe"
        return f"{what}: {key}={trees.show_value(now[key])} (there {before(there, key)})"

    return [f"recipe: conf/{files[-1]}.yaml ({about})", *map(mark, differ)]


def variants(
    verb: str, named: list[str], files: list[str], weights: str | None, differ: list[str]
) -> list[dict[str, Any]]:
    """What the paper ran too, as the files of the recipe list it: the options that belong together, with their values.

    Of such as have one of those that ``differ``.
    """
    found = []
    for words in (words.split() for file in files for words in tables.read_file(file).get("published", ())):
        keys = [word.partition("=")[0] for word in words]
        if set(keys) & set(differ):
            there = values(verb, [*named, *words], weights)
            found.append({key: there[key] for key in keys})
    return found


def values(verb: str, words: Sequence[str], weights: str | None) -> dict[str, Any]:
    """The value of every option, and the choice of every group."""
    tree = compose.compose(verb, words, weights)
    found = {key: trees.reach(tree, key) for key in trees.leaves(tree)}
    groups = {key: value for key, value in provenance.of(verb, words, weights).items() if key in tables.groups(verb)}
    return found | {key: choice for key, (choice, _) in groups.items()}


def recipe_files(verb: str, naming: dict[str, str], weights: str | None) -> list[str]:
    """The files that choices of protocol, model and data, and the model of the weights, name."""
    places = ("recipe/", f"protocol/{verb}/")
    return [path for path, *_ in compose.files(verb, naming, weights) if path.startswith(places)]


def before(there: dict[str, Any], key: str) -> str:
    """What a recipe says in the place of a word, a duration in its own unit."""
    if key in DURATIONS:
        unit = next(unit for unit in DURATIONS if there[unit] is not None)
        return f"{unit}={trees.show_value(there[unit])}".removeprefix(f"{key}=")
    return trees.show_value(there[key]) if key in there else "none"
