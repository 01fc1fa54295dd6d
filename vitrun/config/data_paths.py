"""Paths of data sets, made absolute and checked, and names for a user's own data sets."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vitrun.errors import ExitCode, UserError
from vitrun.recipes import describe_origin, tables
from vitrun.runs import content

FILE_FOR_FOLDER = "is a file, not a folder: give the folder that it is in, or unpack it first if it is an archive."
MAX_NAME = 40  # letters of the name of a user's data set
PATH_OPTIONS = (
    ("path", "folder", Path.is_dir),
    ("root", "folder", Path.is_dir),
    ("images", "folder", Path.is_dir),
    ("real", "file", Path.is_file),
)


def name_own_set(data: dict[str, Any]) -> None:
    """Name an unnamed data set, in place, after its folder or its repository on the Hub."""
    place = data.get("path") or data.get("hub")
    if data.get("name") not in tables.UNNAMED_ROWS or not place or content.is_downloaded(data):
        return
    name = Path(os.path.realpath(data["path"])).name if data.get("path") else place.rpartition("/")[2]
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:MAX_NAME]
    if name and name not in tables.UNNAMED_ROWS:
        data["name"] = f"{data['name']}-{name}" if name in tables.list_group_files("data") else name


def path_options(data: dict[str, Any]) -> list[tuple[str, str, Callable[[Path], bool]]]:
    """Return the options of a data set that are paths, each with the kind of the path and a function that checks it."""
    kinds = {"table": "table", "captions": "table", "coco": "file or folder"}  # which may be a file too
    if data.get("source") not in kinds:
        return [*PATH_OPTIONS]
    return [
        ("path", kinds[data["source"]], is_file_or_folder),
        *(option for option in PATH_OPTIONS if option[0] != "path"),
    ]


def is_file_or_folder(path: Path) -> bool:
    """Return whether a path is one of a file or a folder: reading a pipe or a device may never end."""
    return path.is_file() or path.is_dir()


def resolve_paths(prefix: str, data: dict[str, Any]) -> None:
    """Make the paths of a data set absolute, in place; raise a UserError about the first that does not exist."""
    for option, kind, exists in path_options(data):
        if isinstance(given := data.get(option), str) and given:
            given = os.path.expanduser(given)
            data[option] = str(Path(given).absolute())
            downloads = option == "path" and content.is_downloaded(data)
            if not exists(Path(given)) and not downloads:  # a folder for downloads is created
                source = describe_origin(data["name"], data.get("home"), data.get("hub")) if option == "path" else ""
                why = f"there is no {kind} {data[option]}.{source}"
                if Path(given).exists():
                    why = "is a folder, not a file." if kind == "file" else FILE_FOR_FOLDER
                    why = why if is_file_or_folder(Path(given)) else "is neither a file nor a folder."
                raise UserError(why, ExitCode.DATA, f"{prefix}{option}", given)
