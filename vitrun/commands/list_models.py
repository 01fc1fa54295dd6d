"""``vitrun models``: the table of models."""

from vitrun import recipes
from vitrun.errors import Mistake
from vitrun.models.cost import macs, parameters, tokens
from vitrun.models.published_weights import published
from vitrun.recipes import tables
from vitrun.runtime.console import Screen, table

HEADER = ["model=", "kind", "parameters", "GMAC", "tokens", "published weights (init=)"]


def main(recipe: recipes.Models, screen: Screen) -> None:
    """Print one row a model: its size and cost at a resolution, ``-`` where that does not fit, and its weights."""
    found = []
    for name, row in tables.model_rows().items():
        wanted = not recipe.only or any(word in name or word in row.kind for word in recipe.only)
        if wanted and row.name:
            try:
                size = (parameters(row, recipe.classes, recipe.res), macs(row, recipe.classes, recipe.res))
            except Mistake:
                size = (0, 0)
            found.append((name, row, *size))
    order = {"name": lambda one: one[0], "parameters": lambda one: one[2], "gmac": lambda one: one[3]}
    rows = [
        [name, row.kind, f"{count:,}" if count else "-", f"{cost / 1e9:.3f}" if count else "-"]
        + [str(tokens(row, recipe.res) or "") if count else "-", first_of(published(name))]
        for name, row, count, cost in sorted(found, key=order[recipe.sort])
    ]
    screen.show(table(HEADER, rows))
    screen.say(
        f"With {recipe.classes} classes, at {recipe.res} pixels. model=timm model.name=NAME builds any other of timm."
    )


def first_of(sources: list[str]) -> str:
    """The first of some sources, and how many there are besides."""
    return sources[0] + (f" and {len(sources) - 1} more" if len(sources) > 1 else "") if sources else ""
