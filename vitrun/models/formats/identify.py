"""Identify rows of the model table by the shapes in a file."""

from collections.abc import Sequence
from dataclasses import replace
from math import isqrt
from pathlib import Path
from typing import TypeVar

from vitrun.models.tensor_files import weights_error
from vitrun.recipes import BiT, IGpt, ViT
from vitrun.recipes.tables import load_model_rows

Row = TypeVar("Row", ViT, BiT, IGpt)
# The ViT of a file without a name, a ResNet, dropout and stochastic depth; a layout replaces what the file gives.
PLAIN_VIT = ViT(
    kind="vit",
    name="",
    patch=16,
    width=768,
    depth=12,
    heads=12,
    mlp=3072,
    stem=0,
    resnet=(),
    head="token",
    pre_logits=False,
    positions="learned",
    positions_at="stem",
    gelu="tanh",
    epsilon=1e-6,
    norm_pre=False,
    dropout=0.0,
    stochastic_depth=0.0,
)
ARCHITECTURE_FIELDS = {  # the fields by which a row is identified; the others are options
    ViT: ("patch", "width", "depth", "heads", "mlp", "stem", "resnet"),
    BiT: ("blocks", "width_factor"),
    IGpt: ("width", "depth", "heads", "mlp", "colours"),
}


def name_model(model: Row) -> Row:
    """Return the model with the name of the row of its shape, or with one that describes the shape."""
    for name, row in load_model_rows().items():
        if type(row) is type(model) and all(
            getattr(row, key) == getattr(model, key) for key in ARCHITECTURE_FIELDS[type(model)]
        ):
            return replace(model, name=name)
    if isinstance(model, BiT):
        return replace(model, name=f"bit_{'_'.join(map(str, model.blocks))}x{model.width_factor:g}")
    if isinstance(model, IGpt):
        return replace(model, name=f"igpt_{model.width}x{model.depth}")
    return replace(model, name=f"{'r_' if model.stem else ''}vit_{model.width}x{model.depth}p{model.patch}")


def is_square(number: int) -> bool:
    """Return whether ``number`` is a square: the size of a grid without a class token."""
    return isqrt(number) ** 2 == number


def position_grid_side(rows: int) -> int:
    """Return the side of the grid of a position table, with or without a row for the class token.

    Raise a ValueError if the grid is not square.
    """
    side = isqrt(rows)
    if rows - side**2 > 1:
        raise ValueError(f"its position table has {rows} rows, which is not a square grid; vitrun's images are square")
    return side


def patch_side(size: Sequence[int], channels: int) -> int:
    """Return the side of the patches of images of three channels. Raise a ValueError for any other kernel."""
    height, width = size
    if height != width:
        raise ValueError(f"its patches are {height}x{width} pixels; vitrun's are square")
    if channels != 3:
        raise ValueError(f"its images have {channels} channel{'s' * (channels != 1)}; vitrun's have 3")
    return height


def describe_assumptions(model: ViT, res: int | None, *facts: str) -> str:
    """Return a note on what a file without ``config.json`` does not say of a ViT; ``facts`` are those of the layout."""
    size = [f"square images of {res} pixels"] if res else []
    assumed = [f"{model.heads} heads", *size, f"the {model.gelu} form of GELU", f"LayerNorm epsilon {model.epsilon:g}"]
    return f"assumed, as the file does not say: {', '.join([*assumed, *facts])}; a folder with config.json says it"


def lookup_heads(width: int, depth: int, mlp: int, path: Path) -> int:
    """Return the attention heads of the row of this size, for a file from which they cannot be inferred.

    Raise a UserError if there is no such row.
    """
    for row in load_model_rows().values():
        if isinstance(row, ViT) and (row.width, row.depth, row.mlp) == (width, depth, mlp):
            return row.heads
    size = f"no model in the table has width {width}, depth {depth} and MLP width {mlp}"
    raise weights_error(path, f"{size}, so it is unknown how many heads it has: give the folder with its config.json.")
