"""What a file's shapes say, in the words of the model table."""

from dataclasses import replace
from math import isqrt
from pathlib import Path

from vitrun.models.tensor_files import weights_error
from vitrun.recipes import BiT, ViT
from vitrun.recipes.tables import load_model_rows

ARCHITECTURE_FIELDS = {  # the fields that make a row of the table the one it is; the rest are options of it
    ViT: ("patch", "width", "depth", "heads", "mlp", "stem", "resnet"),
    BiT: ("blocks", "width_factor"),
}


def name_model(model: ViT | BiT) -> ViT | BiT:
    """The row with the name that the table has for its shape, or one that tells the shape."""
    for name, row in load_model_rows().items():
        if type(row) is type(model) and all(
            getattr(row, key) == getattr(model, key) for key in ARCHITECTURE_FIELDS[type(model)]
        ):
            return replace(model, name=name)
    if isinstance(model, BiT):
        return replace(model, name=f"bit_{'_'.join(map(str, model.blocks))}x{model.width_factor:g}")
    return replace(model, name=f"{'r_' if model.stem else ''}vit_{model.width}x{model.depth}p{model.patch}")


def is_square(number: int) -> bool:
    """Whether it is one: the size of a grid without a class token."""
    return isqrt(number) ** 2 == number


def position_grid_side(rows: int) -> int:
    """The side of the grid of a position table with or without a row for the class token."""
    return isqrt(rows)


def lookup_heads(width: int, depth: int, mlp: int, path: Path) -> int:
    """The attention heads of the row of that size, for a file whose projections are whole and which tells nothing."""
    for row in load_model_rows().values():
        if isinstance(row, ViT) and (row.width, row.depth, row.mlp) == (width, depth, mlp):
            return row.heads
    what = f"{width} wide, {depth} deep and no row of the model table, so nothing tells how many heads it has"
    raise weights_error(path, f"it is {what}: give the folder with its config.json.")
