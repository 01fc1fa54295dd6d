"""Where the images of each kind of data set come from."""

from collections.abc import Callable

from vitrun import recipes
from vitrun.data.sources import local_files, shards, synthetic, vtab
from vitrun.data.split import Split

SOURCES = {
    "shapes": synthetic.open_shapes,
    "digits": synthetic.open_digits,
    "files": local_files.open_files,
    "vtab": vtab.open_vtab,
}


def open_source(data: recipes.Data, part: str, tick: Callable[[], None] = lambda: None) -> Split:
    """A part as it lies on this machine, for which an index of shards may have to be made, calling ``tick``."""
    return shards.open_shards(data, part, tick) if data.source == "shards" else SOURCES[data.source](data, part)
