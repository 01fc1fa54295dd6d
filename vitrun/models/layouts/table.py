"""What a file's shapes say, in the words of the model table."""

from dataclasses import replace
from math import isqrt
from pathlib import Path

from vitrun.config import model_rows
from vitrun.models.weights import wrong
from vitrun.recipe import BiT, ViT

SHAPE = {  # the fields that make a row of the table the one it is; the rest are options of it
    ViT: ("patch", "width", "depth", "heads", "mlp", "stem", "resnet"),
    BiT: ("blocks", "width_factor"),
}


def named(model: ViT | BiT) -> ViT | BiT:
    """The row with the name that the table has for its shape, or one that tells the shape."""
    for name, row in model_rows().items():
        if type(row) is type(model) and all(getattr(row, key) == getattr(model, key) for key in SHAPE[type(model)]):
            return replace(model, name=name)
    if isinstance(model, BiT):
        return replace(model, name=f"bit_{'_'.join(map(str, model.blocks))}x{model.width_factor:g}")
    return replace(model, name=f"{'r_' if model.stem else ''}vit_{model.width}x{model.depth}p{model.patch}")


def square(number: int) -> bool:
    """Whether it is one: the size of a grid without a class token."""
    return isqrt(number) ** 2 == number


def grid(rows: int) -> int:
    """The side of the grid of a position table with or without a row for the class token."""
    return isqrt(rows)


def heads(width: int, path: Path) -> int:
    """The attention heads that go with a width, where a file has the projections whole and nothing tells."""
    known = {row.width: row.heads for row in model_rows().values() if isinstance(row, ViT)}
    if width in known:
        return known[width]
    if width % 64 == 0:
        return width // 64
    raise wrong(
        path, f"nothing tells into how many heads a width of {width} falls: give the folder with its config.json."
    )
