"""The data sets: one table for all verbs."""

from vitrun import recipe
from vitrun.data import embedded, files
from vitrun.data.bad import Budget
from vitrun.data.batches import Batch, ahead, testing, training
from vitrun.data.splits import Split, readable, settled
from vitrun.data.table import main
from vitrun.mistakes import Exit, Mistake

__all__ = ["Batch", "Budget", "Split", "ahead", "main", "open_split", "readable", "testing", "training"]

SOURCES = {"shapes": embedded.shapes, "digits": embedded.digits, "files": files.read}


def open_split(data: recipe.Data, part: str) -> Split:
    """The ``train`` or ``test`` part of a data set, small sets of equal images decoded into memory."""
    split = SOURCES[data.source](data, part)
    if len(split) == 0:
        raise Mistake(f"data={data.name}: its {part} part has no images.", Exit.DATA)
    if split.labels.min() < 0:
        raise Mistake(
            f"data={data.name}: its {part} part has images without a label (-1): choose another split.", Exit.DATA
        )
    return split if split.pixels is not None else settled(split)
