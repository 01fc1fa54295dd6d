"""Where the images of each kind of data set come from."""

from collections.abc import Callable

from vitrun import recipes
from vitrun.data.sources import parquet, shards, synthetic, vtab
from vitrun.data.split import Split

SOURCES = {
    "shapes": synthetic.shapes,
    "digits": synthetic.digits,
    "files": parquet.read,
    "vtab": vtab.open_vtab,
}


def read(data: recipes.Data, part: str, tick: Callable[[], None] = lambda: None) -> Split:
    """A part as it lies on this machine, for which an index of shards may have to be made, calling ``tick``."""
    return shards.read(data, part, tick) if data.source == "shards" else SOURCES[data.source](data, part)
