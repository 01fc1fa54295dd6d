"""Folder of the user's config files, which is searched before vitrun's.

It is the folder that ``VITRUN_CONF`` names, or else ``conf`` in the working folder. Its files lie in folders named as
those of vitrun's ``conf/``: ``model/``, ``data/``, ``protocol/``, ``recipe/`` and so on.
"""

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from vitrun.errors import UserError
from vitrun.recipes import yaml_file
from vitrun.runtime.environment import CONFIG_FOLDER

DEFAULT = Path("conf")
PRIMARY = re.compile(r"^defaults:", re.MULTILINE)  # what a file at the top of an application's folder begins with


def find_own_folder(package: Path) -> Path | None:
    """Return the user's folder of config files as an absolute path, or None if there is none.

    A ``conf`` that was found and not named, with a defaults list at its top, is the configuration of another Hydra
    application and not searched. An empty ``VITRUN_CONF`` turns the search off.

    Args:
        package: The folder of vitrun's own config files, which is none of the user's.

    Raises:
        UserError: The named folder does not exist, or has a file that would replace one of a command.
    """
    named = os.environ.get(CONFIG_FOLDER)
    if named is None:
        folder = find_default_folder(package)
        return None if folder is None or is_application(folder) else folder
    folder = Path(named).expanduser().absolute()
    if named == "" or (folder.is_dir() and folder.samefile(package)):
        return None
    if not folder.is_dir():
        raise UserError(f"--config-dir, or {CONFIG_FOLDER}: there is no folder {folder}.", option=CONFIG_FOLDER)
    if commands := {file.name for file in package.glob("*.yaml")} & set(os.listdir(folder)):
        why = (
            f"{folder / min(commands)} would replace vitrun's. Only folders such as model/ are searched: move it away."
        )
        raise UserError(f"--config-dir, or {CONFIG_FOLDER}: {why}", option=CONFIG_FOLDER)
    return folder


def find_default_folder(package: Path) -> Path | None:
    """Return the folder ``conf`` in the working folder; None if there is none, or it is the ``package``'s."""
    folder = DEFAULT.absolute()
    return folder if folder.is_dir() and not folder.samefile(package) else None


def explain_skipped_folder(package: Path) -> str | None:
    """Return why ``conf`` in the working folder is not searched, if that is another application's; None otherwise."""
    folder = find_default_folder(package) if CONFIG_FOLDER not in os.environ else None
    if folder is None or not is_application(folder):
        return None
    return (
        f"{format_path(folder)} is not searched: it has a defaults list at its top, as the folder of another Hydra "
        f"application. To search it: --config-dir {DEFAULT}"
    )


def list_flags() -> list[str]:
    """Return the flags that make another command search the folder that was named for this one."""
    return ["--config-dir", os.environ[CONFIG_FOLDER]] if os.environ.get(CONFIG_FOLDER) else []


def is_application(folder: Path) -> bool:
    """Return whether a folder has the configuration of a Hydra application: a defaults list in a file at its top."""
    files = (file for file in folder.glob("*.yaml") if file.is_file())
    return any(PRIMARY.search(file.read_text(encoding="utf-8", errors="replace")) for file in files)


@cache
def read_own_file(file: Path) -> dict[str, Any]:
    """Return the plain values of one of the user's files. Raise UserError if it is not YAML with options."""
    try:
        content = yaml_file.read_options(file)
        check_defaults(content.get("defaults", []))
    except yaml_file.UnreadableError as error:
        raise UserError(f"{format_path(file)} {error}.") from None
    return content


def check_defaults(defaults: Any) -> None:
    """Raise UnreadableError if a defaults list is none of Hydra's: names, and ``group: name``."""
    for item in defaults if isinstance(defaults, list) else [None]:
        value = next(iter(item.values())) if isinstance(item, dict) and len(item) == 1 else item
        names = value if isinstance(value, list) else [value]
        if not all(isinstance(name, str) or name is None and item is not None for name in names):
            raise yaml_file.UnreadableError("has a defaults list that is none: write [vit_b16, _self_]")


def format_path(path: Path) -> str:
    """Return a path as it would be typed in the working folder: ``./conf/model/mine.yaml``, if it lies in it."""
    return f"./{path.relative_to(Path.cwd()).as_posix()}" if path.is_relative_to(Path.cwd()) else str(path)
