"""``vitrun models``: the table of models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vitrun import recipes
from vitrun.errors import UserError
from vitrun.models.cost import count_macs, count_parameters, count_tokens
from vitrun.recipes import tables
from vitrun.runtime.console import Screen, format_table

HEADER = ["model=", "parameters", "GMAC", "tokens", "published weights (init=)"]


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
    sizes = {name: measure(row, recipe.classes, recipe.res) for name, row in models.items()}
    names = sorted(models, key=None if recipe.sort == "name" else lambda name: getattr(sizes[name], recipe.sort))
    weights = {name: tables.load_model_info(name).weights for name in names}
    cells = [[name, *format_size(sizes[name]), summarize_sources(weights[name])] for name in names]
    screen.print(format_table(HEADER, cells))
    for error in errors:
        screen.warn(f"Not listed: {error}")
    screen.log(
        f"With {recipe.classes} classes, at {recipe.res} pixels. model=timm model.name=NAME builds any other of timm."
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


def measure(row: recipes.ViT | recipes.BiT | recipes.Timm, classes: int, res: int) -> Size:
    """Return the size of a network; zeros if it does not take images of ``res`` pixels."""
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
