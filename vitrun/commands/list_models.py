"""``vitrun models``: the table of models."""

from collections.abc import Sequence

from vitrun import recipes
from vitrun.errors import UserError
from vitrun.models.cost import count_macs, count_parameters, count_tokens
from vitrun.recipes import tables
from vitrun.runtime.console import Screen, format_table

HEADER = ["model=", "kind", "parameters", "GMAC", "tokens", "published weights (init=)"]


def execute(recipe: recipes.ListModels, screen: Screen) -> None:
    """Print one row a model: its size and cost at a resolution, ``-`` where that does not fit, and its weights."""
    found = []
    models, errors = tables.load_rows("model", recipes.Model)
    for name, row in models.items():
        wanted = not recipe.only or any(override in name or override in row.kind for override in recipe.only)
        if wanted and row.name:
            try:
                size = (count_parameters(row, recipe.classes, recipe.res), count_macs(row, recipe.classes, recipe.res))
            except UserError:
                size = (0, 0)
            found.append((name, row, *size))
    order = {"name": lambda one: one[0], "parameters": lambda one: one[2], "gmac": lambda one: one[3]}
    rows = [
        [name, row.kind, f"{count:,}" if count else "-", f"{cost / 1e9:.3f}" if count else "-"]
        + [
            str(count_tokens(row, recipe.res) or "") if count else "-",
            summarize_sources(tables.load_model_info(name).weights),
        ]
        for name, row, count, cost in sorted(found, key=order[recipe.sort])
    ]
    screen.print(format_table(HEADER, rows))
    for error in errors:
        screen.warn(f"Not listed: {error}")
    screen.log(
        f"With {recipe.classes} classes, at {recipe.res} pixels. model=timm model.name=NAME builds any other of timm."
    )


def summarize_sources(sources: Sequence[str]) -> str:
    """The first of some sources, and how many there are besides."""
    return sources[0] + (f" and {len(sources) - 1} more" if len(sources) > 1 else "") if sources else ""
