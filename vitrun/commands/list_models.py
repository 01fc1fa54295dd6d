"""``vitrun models``: the table of models."""

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vitrun import recipes
from vitrun.errors import UserError, shorten
from vitrun.recipes import tables
from vitrun.runs.folder_content import survey_folder
from vitrun.runtime.console import Screen
from vitrun.runtime.plugins import find_plugins
from vitrun.runtime.text_tables import format_table
from vitrun.runtime.user_cache import load_values, store_values

HEADER = ["model=", "parameters", "GMAC", "tokens", "published weights (init=)"]
IGPT_RES = 32  # pixels of a side
SIZES_FILE = "model_sizes.json"
MOST_IN_SILENCE = 10  # models that are measured without a line


@dataclass(frozen=True)
class Size:
    """Size and cost of a network: parameters, multiply-adds and tokens of an image (None if it has no tokens)."""

    parameters: int = 0
    gmac: int = 0  # multiply-adds; the table shows billions of them, and sort=gmac sorts by it
    tokens: int | None = None


def execute(recipe: recipes.ListModels, screen: Screen) -> dict[str, Any]:
    """Print one row per model: its size and cost at ``recipe.res`` (``-`` if that does not fit) and its weights.

    Return the rows, under ``models``.
    """
    rows, errors = tables.load_rows("model", recipes.Model)
    models = {
        name: row
        for name, row in rows.items()
        if not recipe.only or any(part in name or part in row.kind for part in recipe.only)
    }
    sizes = measure_all(models, recipe.classes, recipe.res, screen)
    names = sorted(models, key=None if recipe.sort == "name" else lambda name: getattr(sizes[name], recipe.sort))
    weights = {name: tables.load_model_info(name).weights for name in names}
    cells = [[name, *format_size(sizes[name]), summarize_sources(weights[name])] for name in names]
    screen.print(format_table(HEADER, cells))
    for error in errors:
        screen.warn(shorten(f"Not listed: {error}"))
    screen.log(
        f"With {recipe.classes} classes, at {recipe.res} pixels (igpt: at most {IGPT_RES}). "
        "model=timm model.name=NAME builds any other timm model."
    )
    return {"models": [describe_row(name, models[name], sizes[name], weights[name]) for name in names]}


def describe_row(name: str, row: recipes.Model, size: Size, sources: Sequence[str]) -> dict[str, Any]:
    """Return a model as JSON has it; without its size if it does not take images of this resolution."""
    fits = bool(size.parameters)
    return {
        "name": name,
        "kind": row.kind,
        "parameters": size.parameters if fits else None,
        "macs": size.gmac if fits else None,
        "tokens": size.tokens,
        "weights": list(sources),
    }


def measure_all(rows: dict[str, recipes.Model], classes: int, res: int, screen: Screen) -> dict[str, Size]:
    """Return the size of each network; those that were measured before, by this code, are read from a cache."""
    code = survey_folder(str(Path(__file__).parents[1] / "models")).state
    libraries = repr([code.hexdigest(), *(version(name) for name in ("vitrun", "torch", "timm")), classes, res])
    keys = {name: hashlib.sha256(f"{libraries} {row!r}".encode()).hexdigest() for name, row in rows.items()}
    known = {key: Size(*values) for key, values in load_values(SIZES_FILE).items() if is_size(values)}
    plugins = find_plugins("vitrun.models")  # whose code may have changed
    unknown = {name: key for name, key in keys.items() if key not in known or rows[name].name in plugins}
    if len(unknown) > MOST_IN_SILENCE:
        screen.log(f"Measuring {len(unknown)} models, which takes some seconds. Their sizes are cached.")
    new = {key: measure(rows[name], classes, res) for name, key in unknown.items()}
    if new:
        store_values(SIZES_FILE, {key: astuple(size) for key, size in new.items()})
    return {name: (known | new)[key] for name, key in keys.items()}


def is_size(values: object) -> bool:
    """Return whether values of the cache are those of a :class:`Size`."""
    return isinstance(values, list) and len(values) == 3 and all(isinstance(value, int | None) for value in values)


def measure(row: recipes.Model, classes: int, res: int) -> Size:
    """Return the size of a network; zeros if it does not take images of ``res`` pixels.

    That of an ImageGPT, whose tokens are pixels, is for images of at most ``IGPT_RES``.
    """
    from vitrun.models.cost import count_macs, count_parameters, count_tokens  # imports torch

    res = min(res, IGPT_RES) if row.kind == "igpt" else res
    try:
        return Size(count_parameters(row, classes, res), count_macs(row, classes, res), count_tokens(row, res))
    except UserError:
        return Size()


def format_size(size: Size) -> list[str]:
    """Return the cells of parameters, GMAC and tokens."""
    if not size.parameters:
        return ["-", "-", "-"]
    return [f"{size.parameters:,}", f"{size.gmac / 1e9:.3f}", str(size.tokens or "")]


def summarize_sources(sources: Sequence[str]) -> str:
    """Return the first source, and the number of others."""
    more = f" +{len(sources) - 1}" if len(sources) > 1 else ""
    return sources[0] + more if sources else ""
