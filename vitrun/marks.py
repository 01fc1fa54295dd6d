"""Which file a run's recipe is, and what its words change of it: what the first screen says."""

from collections.abc import Sequence
from typing import Any

from vitrun import choices, config, init, origins
from vitrun.recipe import DURATIONS, RECIPES

NAMING = ("protocol", "model", "data")  # the choices that name a recipe; all other words change it
APART = ("seed", "init", "data.path", "data.root")  # what no recipe says


def marks(verb: str, words: Sequence[str], recipe: Any) -> list[str]:
    """The line that names the recipe of a verb that has protocols, and one for every word that differs from it."""
    if "protocol" not in choices.groups(verb):
        return []
    pairs, weights = config.parse(verb, words), init.behind(recipe)
    naming = {key: value for key, value in pairs.items() if key in NAMING}
    there, now = (shown(verb, some, weights) for some in ([f"{key}={value}" for key, value in naming.items()], words))
    file = recipe_file(verb, naming, weights)
    about = choices.header(choices.CONF / f"{file}.yaml").rstrip(".")
    if set(choices.read_file(file)) <= {"protocol", *config.ABOUT}:  # it sets nothing to differ from
        return [f"recipe: conf/{verb}.yaml ({about})"]
    differ = [key for key in pairs if now[key] != there.get(key) and key not in (*NAMING, *APART, *RECIPES[verb].how)]
    differ = [key for key in differ if not (key.startswith("data.") and there.get(key) == "null")]
    return [
        f"recipe: conf/{file}.yaml ({about})",
        *(f"differs from the recipe: {key}={now[key]} (there {before(there, key)})" for key in differ),
    ]


def shown(verb: str, words: Sequence[str], weights: str | None) -> dict[str, str]:
    """Every option and every choice of a group as it is typed in a word."""
    tree = config.compose(verb, words, weights)
    values = {key: choices.show_value(choices.reach(tree, key)) for key in choices.leaves(tree)}
    groups = {key: value for key, value in origins.of(verb, words, weights).items() if key in choices.groups(verb)}
    return values | {key: choice for key, (choice, _) in groups.items()}


def recipe_file(verb: str, naming: dict[str, str], weights: str | None) -> str:
    """The last file that these choices of protocol, model and data name, with the model of the weights."""
    places = (f"recipe/{verb}/", f"protocol/{verb}/")
    return [path for path, *_ in config.files(verb, naming, weights) if path.startswith(places)][-1]


def before(there: dict[str, str], key: str) -> str:
    """What a recipe says in the place of a word, a duration in its own unit."""
    if key in DURATIONS:
        return next(f"{unit}={there[unit]}" for unit in DURATIONS if there[unit] != "null").removeprefix(f"{key}=")
    return there.get(key, "none")
