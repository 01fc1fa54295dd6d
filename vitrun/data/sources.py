"""Where the images of each kind of data set come from."""

from collections.abc import Callable

from vitrun import recipe
from vitrun.data import embedded, files, shards, vtab
from vitrun.data.splits import Split

SOURCES = {
    "shapes": embedded.shapes,
    "digits": embedded.digits,
    "files": files.read,
    "vtab": vtab.open_vtab,
}


def read(data: recipe.Data, part: str, tick: Callable[[], None] = lambda: None) -> Split:
    """A part as it lies on this machine, for which an index of shards may have to be made, calling ``tick``."""
    return shards.read(data, part, tick) if data.source == "shards" else SOURCES[data.source](data, part)
