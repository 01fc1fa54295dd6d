"""Which file a run's recipe is, and what its overrides change of it: what the first screen says."""

from collections.abc import Sequence
from typing import Any

from vitrun.config import compose, provenance
from vitrun.recipes import DURATIONS, RECIPES, composition, tables, trees
from vitrun.runs import lookup

NAMING_GROUPS = ("protocol", "model", "data")  # the choices that name a recipe; all other overrides change it
IGNORED_OPTIONS = ("seed", "init", "data.path", "data.root")  # what no recipe says


def describe_deviations(command: str, overrides: Sequence[str], recipe: Any) -> list[str]:
    """The line that names the recipe of a command that has protocols, and one for every override that differs from it.

    What its paper ran too, as the recipe's files list it, is told from what it did not.
    """
    if "protocol" not in tables.list_groups(command):
        return []
    pairs, weights = compose.parse_overrides(command, overrides), lookup.model_row_of(recipe)
    naming = {key: value for key, value in pairs.items() if key in NAMING_GROUPS}
    files = list_recipe_files(command, naming, weights)
    about = composition.read_header(files[-1]).rstrip(".")
    if len(files) == 1 and set(composition.read_config_file(files[0])) <= {
        "protocol",
        *compose.METADATA_KEYS,
    }:  # nothing to differ from
        return [f"recipe: conf/{command}.yaml ({about})"]
    named = [f"{key}={value}" for key, value in naming.items()]
    there, now = (collect_values(command, some, weights) for some in (named, overrides))
    differ = [
        key
        for key in pairs
        if key not in (*NAMING_GROUPS, *IGNORED_OPTIONS, *RECIPES[command].execution_options)
        and now[key] != there.get(key)
    ]
    differ = [key for key in differ if not (key.startswith("data.") and there.get(key, "") is None)]
    ran = [
        some for some in find_published_variants(command, named, files, weights, differ) if some.items() <= now.items()
    ]
    published = {key for some in ran for key in some}

    def mark(key: str) -> str:
        what = "a published variant" if key in published else "differs from the recipe"
        return f"{what}: {key}={trees.format_value(now[key])} (there {format_recipe_value(there, key)})"

    return [f"recipe: conf/{files[-1]}.yaml ({about})", *map(mark, differ)]


def find_published_variants(
    command: str, named: list[str], files: list[str], weights: str | None, differ: list[str]
) -> list[dict[str, Any]]:
    """What the paper ran too, as the files of the recipe list it: the options that belong together, with their values.

    Of such as have one of those that ``differ``.
    """
    found = []
    for overrides in (
        overrides.split() for file in files for overrides in composition.read_config_file(file).get("published", ())
    ):
        keys = [override.partition("=")[0] for override in overrides]
        if set(keys) & set(differ):
            there = collect_values(command, [*named, *overrides], weights)
            found.append({key: there[key] for key in keys})
    return found


def collect_values(command: str, overrides: Sequence[str], weights: str | None) -> dict[str, Any]:
    """The value of every option, and the choice of every group."""
    tree = compose.compose_config(command, overrides, weights)
    found = {key: trees.get_value(tree, key) for key in trees.iterate_keys(tree)}
    groups = {
        key: value
        for key, value in provenance.trace_sources(command, overrides, weights).items()
        if key in tables.list_groups(command)
    }
    return found | {key: choice for key, (choice, _) in groups.items()}


def list_recipe_files(command: str, naming: dict[str, str], weights: str | None) -> list[str]:
    """The files that choices of protocol, model and data, and the model of the weights, name."""
    places = ("recipe/", f"protocol/{command}/")
    return [path for path, *_ in compose.list_config_files(command, naming, weights) if path.startswith(places)]


def format_recipe_value(there: dict[str, Any], key: str) -> str:
    """What a recipe says in the place of a override, a duration in its own unit."""
    if key in DURATIONS:
        unit = next(unit for unit in DURATIONS if there[unit] is not None)
        return f"{unit}={trees.format_value(there[unit])}".removeprefix(f"{key}=")
    return trees.format_value(there[key]) if key in there else "none"
