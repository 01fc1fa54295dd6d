"""``vitrun models``: the table of models."""

from vitrun import config, recipe
from vitrun.mistakes import Mistake
from vitrun.models.build import stride
from vitrun.models.counts import macs, parameters
from vitrun.screen import Screen, table


def main(recipe: recipe.Models, screen: Screen) -> None:
    """Print one row a model: its parameters and multiply-adds at a resolution; ``-`` where that does not fit."""
    rows = []
    for name, model in config.model_rows().items():
        if not model.name:
            continue
        try:
            size = [
                f"{parameters(model, recipe.classes, recipe.res):,}",
                f"{macs(model, recipe.classes, recipe.res) / 1e9:.3f}",
            ]
        except Mistake:
            size = ["-", "-"]
        rows.append([name, model.kind, str(stride(model)), *size])
    screen.say(table(["model=", "kind", "stride", "parameters", f"GMAC at {recipe.res}"], rows))
