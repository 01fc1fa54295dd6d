"""Options of a saved recipe that differ from the recipe that its protocol has for the model and the data set."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vitrun.config import compose, provenance
from vitrun.errors import UserError
from vitrun.recipes import DURATIONS, RECIPES, RunRecipe, composition, tables, trees
from vitrun.runs.naming import list_showing_options

OPEN_OPTIONS = (
    "data.",
    "view.",
    "res",
)  # which follow from the weights or the place of the images if no recipe sets them
SEARCH_OPTIONS = ("grid", "decays", "seeds", "dev", "score")  # a search by a recipe ends in runs without these
SEARCHED = {"optim.lr": "grid", "optim.weight_decay": "decays"}  # options of a final run, and what they are chosen from


@dataclass(frozen=True)
class Deviation:
    """Option whose value is not that of the recipe."""

    option: str
    value: str  # as it is typed
    expected: str  # that of the recipe
    is_published: bool  # whether the paper ran this too

    def __str__(self) -> str:
        note = ", a published variant" if self.is_published else ""
        return f"{self.option}={self.value} (there {self.expected}{note})"


@dataclass(frozen=True)
class Deviations:
    """Recipe that a run follows, and in what it deviates from it."""

    recipe: str  # its file, with what it is
    options: tuple[Deviation, ...]


@dataclass(frozen=True)
class Baseline:
    """Recipe of a protocol for a model and a data set."""

    title: str
    values: Mapping[str, Any]
    variants: tuple[Mapping[str, Any], ...]  # values that the paper ran too


def find_deviations(options: Mapping[str, Any], weights: str | None) -> Deviations | None:
    """Return in what a saved recipe deviates from its protocol's; None if there is no recipe to deviate from.

    Args:
        options: The saved recipe: every option, and the ``command``.
        weights: The row of the model table of the weights that it starts from.
    """
    command = options["command"]
    if not options.get("protocol"):
        return None
    folders = tuple(composition.config_folders())
    row = find_row(str(options["data"]["name"]), str(options["data"]["source"]), folders)
    naming = {"protocol": options["protocol"], "data": row}
    if command == "pretrain":
        naming["model"] = options["model"]["name"]
    try:
        baseline = find_baseline(command, tuple(naming.items()), weights, folders)
    except UserError:  # a protocol, model or data set of one's own that is no more
        return None
    if baseline is None:
        return None
    return Deviations(baseline.title, tuple(list_deviations(command, dict(options), baseline)))


@cache
def find_row(name: str, source: str, folders: tuple[Path, ...]) -> str:
    """Return the row of ``conf/data`` of a data set, looked up once in these folders."""
    return tables.find_data_row({"name": name, "source": source})


@cache
def find_baseline(
    command: str, naming: tuple[tuple[str, str], ...], weights: str | None, folders: tuple[Path, ...]
) -> Baseline | None:
    """Return the recipe that choices name in ``folders``, composed once; None if it sets nothing.

    Raise UserError if there is no such choice.
    """
    pairs = compose.parse_overrides(command, [f"{group}={name}" for group, name in naming])
    layers = compose.choose_layers(command, pairs, weights)
    files = [file.path for file in compose.list_files(command, layers.choices) if provenance.is_recipe(file.path)]
    if not provenance.sets_anything(files, layers):
        return None
    title = provenance.describe_recipe(command, files, layers, pairs.get("model") or weights)
    values = provenance.collect_values(command, pairs, weights)
    return Baseline(title, values, tuple(provenance.list_variants(command, files, layers)))


def list_deviations(command: str, options: dict[str, Any], baseline: Baseline) -> Iterator[Deviation]:
    """Yield the options that are not as in the baseline; a duration once, whatever its unit."""
    before = baseline.values
    outside = ("command", *list_showing_options(options))
    keys = [key for key in trees.iterate_keys(options) if key.split(".")[0] not in outside]
    now = {key: trees.get_value(options, key) for key in keys}
    published = {key for some in baseline.variants for key in some if all(now.get(k) == v for k, v in some.items())}
    durations = [key for key in DURATIONS if now.get(key) is not None]
    is_same_length = all(now.get(key) == before.get(key) for key in DURATIONS)
    for key, value in now.items():
        if key in DURATIONS:
            differs = not is_same_length and durations == [key]
        else:
            differs = value != before.get(key) and not is_free(command, key, value, before)
        if differs:
            expected = provenance.format_before(dict(before), key)
            yield Deviation(key, trees.format_value(value), expected, key in published)


def is_free(command: str, key: str, value: Any, before: Mapping[str, Any]) -> bool:
    """Return whether no recipe decides about an option, or its search does."""
    kind = RECIPES[command]
    execution = kind.execution_options if issubclass(kind, RunRecipe) else ()
    names = (*provenance.NAMING_GROUPS, *provenance.IGNORED_OPTIONS, *execution, "model.name")
    if key in names or key.startswith(OPEN_OPTIONS) and before.get(key) is None:
        return True
    is_searched = bool(before.get("grid") or before.get("seeds"))
    return is_searched and (key in SEARCH_OPTIONS or value in (before.get(SEARCHED.get(key, "")) or ()))
