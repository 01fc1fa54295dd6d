"""Files that a table or an annotation names."""

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from vitrun import recipes
from vitrun.data.sources.messages import abbreviate
from vitrun.errors import ExitCode, UserError

NO_FILE = "is not there"


def measure_file(path: str) -> int:
    """Return the size of a file in bytes; -1 if there is no such file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # a path with a zero byte
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def explain_missing(source: Path) -> str:
    """Return what is wrong with an image that ``source`` names and that is not there."""
    return f"{NO_FILE}. Restore the file, or remove the entry of {source.name} that names it."


def check_places(data: recipes.Table | recipes.Captions | recipes.Coco, source: Path, paths: Iterable[str]) -> None:
    """Raise UserError if a file that ``source`` names is outside the folders of the recipe.

    A run is identified by the bytes of the files in these folders: a change of any other file would go unnoticed.
    """
    folder = data.folder
    places = [data.images] if data.images else []
    if folder.is_dir() or not places:
        places.append(folder if folder.is_dir() else folder.parent)
    outside = find_outside(places, paths)
    if not outside:
        return
    common = os.path.commonpath([os.path.dirname(os.path.realpath(path)) for path in outside])
    way_out = f"add {data.group}.images={common}, the folder that has them"
    if common == "/" or not isinstance(data, recipes.Coco) and any("/../" in path for path in outside):
        way_out = f"copy or link them below {places[0]}, or move {source.name} to a folder above them"
    where, first = " or ".join(map(str, places)), abbreviate(outside[:1])
    why = f"{source} names files outside of {where}, such as {first}, so that a change of them would go unnoticed"
    raise UserError(f"{why}: {way_out}.", ExitCode.DATA)


def find_outside(folders: Sequence[Path], paths: Iterable[str]) -> list[str]:
    """Return the paths that are in none of the folders, neither as they are written nor by their real paths."""
    named = tuple(os.path.join(folder, "") for folder in folders)
    unusual = [path for path in paths if not path.startswith(named) or "/../" in path]
    real = tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)
    return [path for path in unusual if not os.path.realpath(path).startswith(real)]
